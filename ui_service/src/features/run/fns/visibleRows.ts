/** Which rows of the tree are shown: not those below a folded one, and while searching only what fits and its ancestors. */
import type { SpanView } from "../types";
import type { SpanTree, TreeRow } from "./spanTree";

export interface VisibleRows {
  readonly rows: readonly TreeRow[];
  /** Keys of the rows that fit the search, in their order; empty without one. */
  readonly matches: readonly string[];
}

const haystacks = new WeakMap<SpanView, string>();

export function visibleRows(tree: SpanTree, folded: ReadonlySet<string>, search: string): VisibleRows {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length) return found(tree, words);
  if (!folded.size) return { rows: tree.rows, matches: [] };
  const rows: TreeRow[] = [];
  let hiddenBelow = Infinity;
  for (const row of tree.rows) {
    if (row.depth > hiddenBelow) continue;
    rows.push(row);
    hiddenBelow = folded.has(row.key) ? row.depth : Infinity;
  }
  return { rows, matches: [] };
}

/** A search looks into folded rows, too. */
function found(tree: SpanTree, words: readonly string[]): VisibleRows {
  const matches: string[] = [];
  const shown = new Set<string>();
  for (const row of tree.rows) {
    if (!words.every((word) => haystack(row.span).includes(word))) continue;
    matches.push(row.key);
    for (let key = row.key; key && !shown.has(key); key = tree.byKey.get(key)?.parentKey ?? "") shown.add(key);
  }
  return { rows: tree.rows.filter((row) => shown.has(row.key)), matches };
}

function haystack(span: SpanView): string {
  let text = haystacks.get(span);
  if (text === undefined) {
    const values = Object.entries(span.attributes).map(([name, value]) => `${name}=${flat(value)}`);
    text = [span.name, span.service, span.state, span.status_message, span.span_id, ...values].join("\n").toLowerCase();
    haystacks.set(span, text);
  }
  return text;
}

function flat(value: unknown): string {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "");
}
