/** The spans of one run as they come, shown together when they come together. */
import { Store } from "@/live/connection";

import { addSpans, belongsTo, type SpanSet } from "./fns/spanSet";
import type { SpanView } from "./types";

/** So long a span waits for others; a burst of a thousand is then one drawing. */
const GATHER_MS = 25;

export class SpanFeed {
  readonly spans = new Store<SpanSet>(new Map());
  readonly #traceIds = new Set<string>();
  #waiting: SpanView[] = [];

  constructor(private readonly runId: string) {}

  /** Take in what was fetched: all of it belongs here. */
  add(spans: readonly SpanView[]): void {
    for (const span of spans) if (span.run_id === this.runId) this.#traceIds.add(span.trace_id);
    this.spans.set(addSpans(this.spans.get(), spans));
  }

  /** Take in what the stream tells: some of it is of other runs. */
  readonly hear = (span: SpanView): void => {
    if (!belongsTo(span, this.runId, this.#traceIds)) return;
    if (this.#waiting.push(span) === 1) setTimeout(this.#show, GATHER_MS);
  };

  readonly #show = (): void => {
    const spans = this.#waiting;
    this.#waiting = [];
    this.add(spans);
  };
}
