/** One run's own stream, `/api/runs/{id}/events`: its numbered events, kept in order and each once. */
import { ApiFailure } from "@/api/failure";
import type { End, RunEventView, RunSse } from "@/api/schema";

import { withData } from "./controlEvents";
import type { StreamVerdict } from "./stream";
import type { SseEvent } from "./sse";

export interface RunFeed {
  /** In order, without gaps or doubles. */
  events: readonly RunEventView[];
  /** Why the stream is over; null while more may come. */
  end: End | null;
  /** Why there is no stream at all. */
  failure: ApiFailure | null;
  /** Whether anything has arrived yet. */
  hasBegun: boolean;
}

export const NO_FEED: RunFeed = { events: [], end: null, failure: null, hasBegun: false };

/** The feed after one event of the stream, and what becomes of the stream. */
export function takeRunEvent(feed: RunFeed, raw: SseEvent): [RunFeed, StreamVerdict] {
  const event = withData(raw) as RunSse | null;
  if (event === null) return [feed, "unknown"];
  if (event.event === "end") return takeEnd(feed, event.data as End);
  // commits were lost: what follows the reset may not continue what is here
  if (event.event === "reset") return [{ ...NO_FEED, hasBegun: true }, "restart"];
  const view = event.data as RunEventView;
  const next = { ...feed, hasBegun: true };
  if (typeof view.sequence !== "number" || typeof view.type !== "string") return [feed, "unknown"];
  if (view.sequence <= (feed.events.at(-1)?.sequence ?? 0)) return [next, "taken"];
  return [{ ...next, events: [...feed.events, view] }, view.type === "unknown" ? "unknown" : "taken"];
}

function takeEnd(feed: RunFeed, end: End): [RunFeed, StreamVerdict] {
  if (end.reason === "interrupted" || end.reason === "shutting_down") return [feed, "again"];
  return [{ ...feed, end, hasBegun: true }, "over"];
}

/** The feed after an answer that is no stream, and whether to give up. */
export function takeRefusal(feed: RunFeed, status: number, body: string): [RunFeed, boolean] {
  const failure = ApiFailure.of(status, body);
  const isFinal = status >= 400 && status < 500 && !failure.isPassing;
  return [isFinal ? { ...feed, failure } : feed, isFinal];
}
