/** What control's own stream, `/api/events`, tells: each kind with its payload. */
import type { ControlSse } from "@/api/schema";

import type { SseEvent } from "./sse";

export type ControlEventName = ControlSse["event"];
export type ControlPayload<N extends ControlEventName> = Extract<ControlSse, { event: N }>["data"];

const NAMES: Record<ControlEventName, true> = {
  ready: true,
  registry_changed: true,
  span_started: true,
  span_ended: true,
  run_changed: true,
  hop: true,
  decision: true,
  a2a_message: true,
  mode_changed: true,
  incident: true,
  reset: true,
  end: true,
};

/** The event, or null when its kind is not known or its payload cannot be read. */
export function readControlEvent(event: SseEvent): ControlSse | null {
  return Object.hasOwn(NAMES, event.event) ? (withData(event) as ControlSse | null) : null;
}

/** An event of a stream with its payload parsed; null when that is no object. */
export function withData({ event, id, data }: SseEvent): { event: string; id: string; data: object } | null {
  try {
    const payload: unknown = JSON.parse(data);
    return typeof payload === "object" && payload !== null ? { event, id, data: payload } : null;
  } catch {
    return null;
  }
}
