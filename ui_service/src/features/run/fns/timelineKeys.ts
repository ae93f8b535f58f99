/** What a key does in the timeline. Pure: a table of keys, and the selection that follows. */

export type TimelineAction =
  | { type: "move"; by: number }
  | { type: "edge"; end: "first" | "last" }
  | { type: "match"; by: 1 | -1 }
  | { type: "fold" }
  | { type: "unfold" }
  | { type: "open" }
  | { type: "close" }
  | { type: "zoom"; factor: number }
  | { type: "reset" };

const PAGE = 15;
const KEYS: Readonly<Record<string, TimelineAction>> = {
  j: { type: "move", by: 1 },
  ArrowDown: { type: "move", by: 1 },
  k: { type: "move", by: -1 },
  ArrowUp: { type: "move", by: -1 },
  PageDown: { type: "move", by: PAGE },
  PageUp: { type: "move", by: -PAGE },
  Home: { type: "edge", end: "first" },
  End: { type: "edge", end: "last" },
  n: { type: "match", by: 1 },
  N: { type: "match", by: -1 },
  ArrowLeft: { type: "fold" },
  ArrowRight: { type: "unfold" },
  Enter: { type: "open" },
  Escape: { type: "close" },
  "+": { type: "zoom", factor: 0.5 },
  "=": { type: "zoom", factor: 0.5 },
  "-": { type: "zoom", factor: 2 },
  "0": { type: "reset" },
};

/** Null for a key that is the browser's: one with a modifier, or one that does nothing here. */
export function actionOf(event: { key: string; ctrlKey: boolean; metaKey: boolean; altKey: boolean }): TimelineAction | null {
  if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(KEYS, event.key)) return null;
  return KEYS[event.key] ?? null;
}

/** The index to go to among `count` rows; -1 when there are none. Without a selection the first row comes first. */
export function moved(index: number, by: number, count: number): number {
  if (count <= 0) return -1;
  if (index < 0) return by > 0 ? 0 : count - 1;
  return Math.min(count - 1, Math.max(0, index + by));
}

/** The next of the matches after a row, round and round; "" without matches. */
export function nextMatch(matches: readonly string[], rowKeys: readonly string[], current: string, by: 1 | -1): string {
  if (!matches.length) return "";
  const places = new Map(rowKeys.map((key, index) => [key, index]));
  const here = places.get(current) ?? (by > 0 ? -1 : rowKeys.length);
  const ordered = by > 0 ? matches : [...matches].reverse();
  return ordered.find((key) => ((places.get(key) ?? -1) - here) * by > 0) ?? ordered[0]!;
}
