/** The spans of a run as they come: by page, and one by one from the stream. Pure. */
import type { SpanView } from "../types";

export type SpanSet = ReadonlyMap<string, SpanView>;

export function spanKey(span: { trace_id: string; span_id: string }): string {
  return `${span.trace_id}/${span.span_id}`;
}

export function belongsTo(span: SpanView, runId: string, traceIds: ReadonlySet<string>): boolean {
  return span.run_id ? span.run_id === runId : traceIds.has(span.trace_id);
}

/**
 * Take spans in, in any order and any number of times. Returns the same set when nothing is new.
 *
 * An end replaces a start, never the other way; a real end replaces `lost`, since a process that was only stopped for a
 * while ends its spans after all.
 */
export function addSpans(set: SpanSet, spans: Iterable<SpanView>): SpanSet {
  let next: Map<string, SpanView> | null = null;
  for (const span of spans) {
    const known = (next ?? set).get(spanKey(span));
    if (known && rank(span) <= rank(known)) continue;
    next ??= new Map(set);
    next.set(spanKey(span), span);
  }
  return next ?? set;
}

function rank(span: SpanView): number {
  return { running: 0, lost: 1, ok: 2, error: 2 }[span.state];
}
