/** What keys mean, apart from the page they are pressed on. */
import { PAGES } from "./pages";

/** Within so long the second key follows `g`. */
export const CHORD_MS = 1_200;

export interface Press {
  key: string;
  /** In a field, or with a modifier: not for us. */
  isTyping: boolean;
  at: number;
}

export interface KeyState {
  /** When `g` was pressed, if it waits for its second key. */
  goAt: number | null;
}

export type KeyAction = { go: string } | { help: true } | { focusSearch: true } | null;

/** What a key press does, after those before it. */
export function pressKey(state: KeyState, press: Press): [KeyState, KeyAction] {
  const idle: KeyState = { goAt: null };
  if (press.isTyping) return [idle, null];
  if (state.goAt !== null && press.at - state.goAt <= CHORD_MS) {
    const page = PAGES.find((each) => each.key === press.key);
    if (page) return [idle, { go: page.href }];
  }
  if (press.key === "g") return [{ goAt: press.at }, null];
  if (press.key === "?") return [idle, { help: true }];
  if (press.key === "/") return [idle, { focusSearch: true }];
  return [idle, null];
}
