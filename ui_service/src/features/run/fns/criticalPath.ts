/** The chain of spans that the trace's length comes from: shorten one of them and the whole gets shorter. Pure. */
import type { SpanView } from "../types";
import { endOf } from "./geometry";
import { spanKey } from "./spanSet";
import type { SpanTree } from "./spanTree";

/** A piece of a span during which the trace waited for that span itself. */
export interface Section {
  readonly fromMs: number;
  readonly toMs: number;
}

interface Visit {
  span: SpanView | null;
  children: readonly SpanView[];
  next: number;
  cursor: number;
}

/**
 * Walk back from the end: whatever ended last was waited for; before it began, what had ended last by then.
 *
 * A span that outlives its parent (a run outlives the call that started it) counts with its whole length. Each span is
 * visited at most once.
 */
export function criticalPath(tree: SpanTree, nowMs: number): ReadonlyMap<string, readonly Section[]> {
  const sections = new Map<string, Section[]>();
  const ends = subtreeEnds(tree, nowMs);
  const latestFirst = (spans: readonly SpanView[]) =>
    [...spans].sort((a, b) => ends.get(spanKey(b))! - ends.get(spanKey(a))!);
  const visits: Visit[] = [{ span: null, children: latestFirst(tree.roots), next: 0, cursor: Infinity }];
  for (let visit = visits.at(-1); visit; visit = visits.at(-1)) {
    const child = visit.children[visit.next++];
    if (!child) {
      own(visit, visit.span?.start_unix_ms ?? Infinity, sections, nowMs);
      visits.pop();
      continue;
    }
    const end = ends.get(spanKey(child))!;
    if (end > visit.cursor || child.start_unix_ms > end) continue; // what ends later was not waited for here
    own(visit, end, sections, nowMs);
    visit.cursor = Math.min(end, child.start_unix_ms);
    visits.push({ span: child, children: latestFirst(tree.childrenOf.get(spanKey(child)) ?? []), next: 0, cursor: end });
  }
  return sections;
}

/** The time from `fromMs` to the cursor was the span's own, as far as it lasted. */
function own(visit: Visit, fromMs: number, sections: Map<string, Section[]>, nowMs: number): void {
  if (!visit.span) return;
  const section = {
    fromMs: Math.max(fromMs, visit.span.start_unix_ms),
    toMs: Math.min(visit.cursor, endOf(visit.span, nowMs)),
  };
  if (section.toMs <= section.fromMs) return;
  const key = spanKey(visit.span);
  if (sections.get(key)?.push(section) === undefined) sections.set(key, [section]);
}

function subtreeEnds(tree: SpanTree, nowMs: number): Map<string, number> {
  const ends = new Map<string, number>();
  for (let index = tree.rows.length - 1; index >= 0; index--) {
    const { key, span, parentKey } = tree.rows[index]!;
    const end = Math.max(endOf(span, nowMs), ends.get(key) ?? -Infinity);
    ends.set(key, end);
    if (parentKey) ends.set(parentKey, Math.max(end, ends.get(parentKey) ?? -Infinity));
  }
  return ends;
}

/** How much of the time up to now the sections have, in ms. */
export function timeOnPath(sections: readonly Section[], nowMs: number): number {
  return sections.reduce((sum, { fromMs, toMs }) => sum + Math.max(0, Math.min(toMs, nowMs) - fromMs), 0);
}
