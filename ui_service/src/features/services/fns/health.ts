/** What is said of a service's health. Pure. */
import type { ServiceView } from "@/api/schema";
import type { Tone } from "@/components/ui/Badge";

export interface HealthSaying {
  label: string;
  tone: Tone;
  /** Why, and what it means; empty when all is well. */
  why: string;
}

const LABELS: Record<ServiceView["health"]["state"], { label: string; tone: Tone; why: string }> = {
  serving: { label: "Serving", tone: "good", why: "" },
  degraded: { label: "Degraded", tone: "warn", why: "It serves, but not as it should; it did not say why." },
  not_serving: { label: "Not serving", tone: "bad", why: "It says that it does not serve; it did not say why." },
  draining: { label: "Draining", tone: "neutral", why: "It finishes what it has and takes nothing new." },
  unspecified: { label: "Unknown", tone: "neutral", why: "It has not said how it is." },
};

/** Its own words go before ours; a lease that ran out goes before both. */
export function healthSaying(service: ServiceView, now: number): HealthSaying {
  const lapsed = Date.parse(service.lease_expire_time) < now - LATE_MS;
  if (lapsed) return { label: "No heartbeat", tone: "bad", why: "Its lease has lapsed: it died, hangs, or cannot reach control." };
  const { label, tone, why } = LABELS[service.health.state] ?? LABELS.unspecified;
  return { label, tone, why: service.health.state === "serving" ? "" : service.health.message || why };
}

/** Clocks of this machine and the server's may differ a little. */
const LATE_MS = 3_000;

/** Worst first, then by name: what needs a look is on top. */
export function byNeed(services: readonly ServiceView[], now: number): ServiceView[] {
  const rank: Record<Tone, number> = { bad: 0, warn: 1, neutral: 2, accent: 3, good: 3 };
  const key = (service: ServiceView) => rank[healthSaying(service, now).tone];
  return [...services].sort(
    (a, b) => key(a) - key(b) || a.name.localeCompare(b.name) || a.instance_id.localeCompare(b.instance_id),
  );
}
