/** The lives of a run: one `agent.run` span for each epoch, and the breaks between them. Pure. */
import type { SpanView } from "../types";
import { spanKey } from "./spanSet";

export interface Epoch {
  readonly key: string;
  readonly span: SpanView;
  /** From 1, by time. The epoch's own number also contains the store's generation. */
  readonly ordinal: number;
  /** "crash", "pause", "answer", "request", or "" for the first. */
  readonly cause: string;
  readonly isLost: boolean;
}

/** The time in which nobody drove the run. */
export interface Break {
  readonly fromMs: number;
  /** Null while nobody has taken the run up again. */
  readonly toMs: number | null;
  /** "lost" when the process died, otherwise why the run was taken up again. */
  readonly cause: string;
}

export function epochsOf(spans: Iterable<SpanView>, runId: string): Epoch[] {
  return [...spans]
    .filter((span) => span.name === "agent.run" && span.run_id === runId)
    .sort((a, b) => epochNumber(a) - epochNumber(b) || a.start_unix_ms - b.start_unix_ms)
    .map((span, index) => ({
      key: spanKey(span),
      span,
      ordinal: index + 1,
      cause: String(span.attributes["run.resume_cause"] ?? ""),
      isLost: span.state === "lost",
    }));
}

export function breaksOf(epochs: readonly Epoch[]): Break[] {
  const breaks: Break[] = [];
  epochs.forEach(({ span, isLost }, index) => {
    const next = epochs[index + 1];
    if (span.end_unix_ms === null || (!next && !isLost)) return;
    const fromMs = Math.max(span.end_unix_ms, span.start_unix_ms);
    if (next && next.span.start_unix_ms < fromMs) return; // the clocks of two processes disagree
    breaks.push({ fromMs, toMs: next?.span.start_unix_ms ?? null, cause: isLost ? "lost" : next!.cause });
  });
  return breaks;
}

function epochNumber(span: SpanView): number {
  const number = Number(span.attributes["run.epoch"]);
  return Number.isFinite(number) ? number : 0;
}
