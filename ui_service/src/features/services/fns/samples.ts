/** How processes were over the last minutes: samples out of the registry and out of spans. Pure. */
import type { ServiceView, SpanView } from "@/api/schema";

export interface Sample {
  at: number;
  /** Share of one core. */
  cpu: number;
  rssBytes: number;
  lagMs: number;
}

/** By instance, oldest first. */
export type Samples = Readonly<Record<string, readonly Sample[]>>;

export const KEPT_MS = 10 * 60_000;
export const MAX_KEPT = 300;
/** Samples nearer to each other than this say the same. */
export const NEAREST_MS = 900;

/** What a heartbeat said; null when it said nothing usable. */
export function sampleOfService(service: ServiceView): Sample | null {
  const { cpu, rss_bytes, event_loop_lag_ms } = service.health;
  return sample(Date.parse(service.heartbeat_time), cpu, rss_bytes, event_loop_lag_ms);
}

/** What a server span said of its process as it ended. */
export function sampleOfSpan(span: SpanView): Sample | null {
  const seconds = span.attributes["event_loop.lag"];
  const lag = typeof seconds === "number" ? seconds * 1_000 : null;
  return sample(span.end_unix_ms, span.attributes["process.cpu.utilization"], span.attributes["process.memory.usage"], lag);
}

function sample(at: unknown, cpu: unknown, rssBytes: unknown, lagMs: unknown): Sample | null {
  const numbers = [at, cpu, rssBytes].map((each) => (typeof each === "number" && Number.isFinite(each) ? each : null));
  const [when, share, memory] = numbers;
  if (when == null || share == null || memory == null) return null;
  const lag = typeof lagMs === "number" && Number.isFinite(lagMs) ? lagMs : 0;
  return { at: when, cpu: Math.max(0, share), rssBytes: Math.max(0, memory), lagMs: Math.max(0, lag) };
}

/** The samples with new ones in their places; what is old or too near to another is left out. */
export function withSamples(samples: Samples, fresh: readonly (readonly [string, Sample | null])[], now: number): Samples {
  const next: Record<string, readonly Sample[]> = { ...samples };
  for (const [instanceId, each] of fresh) {
    if (each === null || each.at < now - KEPT_MS) continue;
    const known = next[instanceId] ?? [];
    if (known.some(({ at }) => Math.abs(at - each.at) < NEAREST_MS)) continue;
    const after = known.findLastIndex(({ at }) => at < each.at);
    next[instanceId] = known.toSpliced(after + 1, 0, each);
  }
  for (const [instanceId, list] of Object.entries(next)) {
    const kept = list.filter(({ at }) => at >= now - KEPT_MS).slice(-MAX_KEPT);
    if (kept.length) next[instanceId] = kept;
    else delete next[instanceId];
  }
  return next;
}
