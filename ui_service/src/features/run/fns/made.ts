/** Spans and events for tests. */
import type { RunEventView, RunView, SpanView } from "../types";

export const RUN_ID = "run-1";
export const TRACE_ID = "t".repeat(32);

export function span(id: string, over: Partial<SpanView> = {}): SpanView {
  return {
    trace_id: TRACE_ID,
    span_id: id,
    parent_span_id: "",
    name: id,
    service: "agent",
    instance_id: "agent-1",
    kind: "internal",
    state: "ok",
    status_message: "",
    start_unix_ms: 1_000,
    end_unix_ms: 1_100,
    run_id: RUN_ID,
    thread_id: null,
    correlation_id: null,
    attributes: {},
    events: [],
    links: [],
    ...over,
  };
}

/** A span from `start` to `end`; running without an end. */
export function timed(id: string, parent: string, start: number, end: number | null, over: Partial<SpanView> = {}): SpanView {
  const state = end === null ? "running" : "ok";
  return span(id, { parent_span_id: parent, start_unix_ms: start, end_unix_ms: end, state, ...over });
}

export function event<Type extends RunEventView["type"]>(
  sequence: number,
  type: Type,
  payload: Extract<RunEventView, { type: Type }>["payload"],
): RunEventView {
  return {
    run_id: RUN_ID,
    sequence,
    create_time: new Date(1_000 + sequence).toISOString(),
    correlation_id: "",
    trace_id: TRACE_ID,
    span_id: `s${sequence}`,
    type,
    payload,
  } as RunEventView;
}

export const NO_USAGE = {
  model: "",
  input_tokens: 0,
  output_tokens: 0,
  cached_tokens: 0,
  calls: 0,
  time_to_first_token_ms: null,
  duration_ms: null,
};

export function run(over: Partial<RunView> = {}): RunView {
  return {
    source: "agent",
    run_id: RUN_ID,
    thread_id: "thread-1",
    workflow: "auto",
    query: "why?",
    state: "running",
    answer: "",
    error: null,
    effort: "medium",
    tenant: "default",
    request_id: "",
    correlation_id: "",
    trace_id: TRACE_ID,
    span_id: "",
    create_time: null,
    update_time: null,
    end_time: null,
    run_timeout_ms: null,
    hop_count: 0,
    remaining_hops: 3,
    current_cycle: 0,
    max_cycles: 0,
    attempt_count: 0,
    epoch: 1,
    last_sequence: 1,
    has_unresolved_review: false,
    usage: NO_USAGE,
    questions: [],
    citations: [],
    ...over,
  };
}

/** The same order each time, unlike the one before. */
export function shuffled<Item>(items: readonly Item[], seed = 7): Item[] {
  const result = [...items];
  let state = seed;
  for (let index = result.length - 1; index > 0; index--) {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    const other = state % (index + 1);
    [result[index], result[other]] = [result[other]!, result[index]!];
  }
  return result;
}
