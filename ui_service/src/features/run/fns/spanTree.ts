/** Puts spans in order: parents before children, each once. Pure, total, without recursion: a chain may be 10,000 long. */
import type { SpanView } from "../types";
import { spanKey } from "./spanSet";

export interface TreeRow {
  readonly key: string;
  readonly span: SpanView;
  /** 0 for a root, and for a span whose parent is not there. */
  readonly depth: number;
  readonly childCount: number;
  /** The key of the row above it in the tree; "" for a root. */
  readonly parentKey: string;
  /** Whether it names a parent that is not there. */
  readonly isOrphan: boolean;
  /** The latest end of the span and of all below it; null while one of them runs. */
  readonly subtreeEndMs: number | null;
}

export interface SpanTree {
  /** All rows, parents before children, siblings by start. */
  readonly rows: readonly TreeRow[];
  readonly byKey: ReadonlyMap<string, TreeRow>;
  readonly childrenOf: ReadonlyMap<string, readonly SpanView[]>;
  readonly roots: readonly SpanView[];
}

interface Entry {
  key: string;
  span: SpanView;
  depth: number;
  parentKey: string;
}

export function buildTree(spans: Iterable<SpanView>): SpanTree {
  const byId = new Map<string, SpanView>();
  for (const span of spans) byId.set(spanKey(span), span);
  const sorted = [...byId.values()].sort(byStart);
  const claimed = new Map<string, SpanView[]>();
  const roots: SpanView[] = [];
  for (const span of sorted) {
    const parent = parentOf(span);
    if (!byId.has(parent)) roots.push(span);
    else if (claimed.get(parent)?.push(span) === undefined) claimed.set(parent, [span]);
  }
  const entries: Entry[] = [];
  const placed = new Set<string>();
  for (const root of roots) place(root, claimed, placed, entries);
  // what is left is its own ancestor: the earliest of each circle becomes a root
  for (const span of entries.length < sorted.length ? sorted : []) {
    if (placed.has(spanKey(span))) continue;
    roots.push(span);
    place(span, claimed, placed, entries);
  }
  return finish(entries, roots);
}

function place(root: SpanView, claimed: Map<string, SpanView[]>, placed: Set<string>, entries: Entry[]): void {
  const todo: Entry[] = [{ key: spanKey(root), span: root, depth: 0, parentKey: "" }];
  for (let entry = todo.pop(); entry; entry = todo.pop()) {
    if (placed.has(entry.key)) continue;
    placed.add(entry.key);
    entries.push(entry);
    const children = claimed.get(entry.key) ?? [];
    for (let index = children.length - 1; index >= 0; index--) {
      const span = children[index]!;
      todo.push({ key: spanKey(span), span, depth: entry.depth + 1, parentKey: entry.key });
    }
  }
}

function finish(entries: Entry[], roots: SpanView[]): SpanTree {
  const childrenOf = new Map<string, SpanView[]>();
  for (const { span, parentKey } of entries) {
    if (parentKey && childrenOf.get(parentKey)?.push(span) === undefined) childrenOf.set(parentKey, [span]);
  }
  const ends = new Map<string, number>();
  for (let index = entries.length - 1; index >= 0; index--) {
    const { key, span, parentKey } = entries[index]!;
    const end = Math.max(ownEnd(span), ends.get(key) ?? -Infinity);
    ends.set(key, end);
    ends.set(parentKey, Math.max(end, ends.get(parentKey) ?? -Infinity));
  }
  const rows = entries.map((entry): TreeRow => {
    const end = ends.get(entry.key)!;
    return {
      ...entry,
      childCount: childrenOf.get(entry.key)?.length ?? 0,
      isOrphan: entry.depth === 0 && entry.span.parent_span_id !== "",
      subtreeEndMs: Number.isFinite(end) ? end : null,
    };
  });
  return { rows, byKey: new Map(rows.map((row) => [row.key, row])), childrenOf, roots };
}

function ownEnd(span: SpanView): number {
  if (span.end_unix_ms !== null) return Math.max(span.end_unix_ms, span.start_unix_ms);
  return span.state === "running" ? Infinity : span.start_unix_ms;
}

function parentOf(span: SpanView): string {
  return spanKey({ trace_id: span.trace_id, span_id: span.parent_span_id });
}

function byStart(a: SpanView, b: SpanView): number {
  return a.start_unix_ms - b.start_unix_ms || (spanKey(a) < spanKey(b) ? -1 : 1);
}
