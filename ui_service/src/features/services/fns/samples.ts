/** How processes were over their last heartbeats. Pure. */
import type { HealthSample, ServiceList, ServiceView } from "@/api/schema";

import type { Point } from "./sparkline";

export type Figure = "cpu" | "rss_bytes" | "event_loop_lag_ms";

/** One figure over time, oldest first; heartbeats that did not say it are left out. */
export function pointsOf(history: readonly HealthSample[], figure: Figure): Point[] {
  return history
    .map(({ time_unix_ms, health }) => ({ at: time_unix_ms, value: health[figure] }))
    .filter((point): point is Point => Number.isFinite(point.at) && point.value !== null && Number.isFinite(point.value))
    .sort((a, b) => a.at - b.at);
}

/** A list that was told without history, with the history that is known. */
export function withHistory(told: ServiceList, known: ServiceList | undefined): ServiceList {
  const before = new Map((known?.services ?? []).map((each): [string, ServiceView] => [each.instance_id, each]));
  const services = told.services.map((each) =>
    each.history.length ? each : { ...each, history: before.get(each.instance_id)?.history ?? [] },
  );
  return { ...told, services };
}
