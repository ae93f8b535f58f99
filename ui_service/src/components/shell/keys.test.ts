import { expect, test } from "vitest";

import { CHORD_MS, type KeyAction, type KeyState, type Press, pressKey } from "./keys";
import { readTheme } from "./theme";

const press = (key: string, at = 0, isTyping = false): Press => ({ key, at, isTyping });

function after(...presses: Press[]): KeyAction {
  let state: KeyState = { goAt: null };
  let action: KeyAction = null;
  for (const each of presses) [state, action] = pressKey(state, each);
  return action;
}

test("g and a letter lead to a page", () => {
  expect(after(press("g"), press("r", 100))).toEqual({ go: "/runs" });
  expect(after(press("g"), press("s", 100))).toEqual({ go: "/services" });
});

test.each([
  ["too late", [press("g"), press("r", CHORD_MS + 1)]],
  ["without g", [press("r")]],
  ["while text is written", [press("g"), press("r", 1, true)]],
  ["with another key between", [press("g"), press("x", 1), press("r", 2)]],
  ["twice", [press("g"), press("r", 1), press("r", 2)]],
])("a letter %s does nothing", (_, presses) => {
  expect(after(...presses)).toBeNull();
});

test("a search and a list of keys have one of their own", () => {
  expect(after(press("/"))).toEqual({ focusSearch: true });
  expect(after(press("?"))).toEqual({ help: true });
});

test("a theme that nobody knows is the system's", () => {
  expect([readTheme("dark"), readTheme("neon"), readTheme(undefined)]).toEqual(["dark", "system", "system"]);
});
