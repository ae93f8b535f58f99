import type { ServiceView } from "@/api/schema";
import { Badge } from "@/components/ui/Badge";
import { bytes, duration } from "@/features/run/fns/format";
import { fromNow, momentOf, wholeMoment } from "@/format/time";

import { healthSaying } from "./fns/health";
import { pointsOf } from "./fns/samples";
import { Sparkline } from "./Sparkline";

/** One process: who it is, how it is, and why when it is not well. */
export function ServiceCard({ service, now }: { service: ServiceView; now: number }) {
  const health = healthSaying(service, now);
  return (
    <li
      data-service={service.name}
      data-health={service.health.state}
      className="grid gap-x-8 gap-y-4 px-4 py-4 lg:grid-cols-[minmax(0,1fr)_minmax(0,26rem)]"
    >
      <div className="min-w-0">
        <h2 className="flex min-w-0 flex-wrap items-center gap-2 text-base font-semibold">
          <span className="min-w-0 break-all">{service.name}</span>
          <Badge tone={health.tone} dot isBeating={health.tone === "warn" || health.tone === "bad"}>
            {health.label}
          </Badge>
        </h2>
        {health.why && (
          <p className={`mt-1 text-sm break-words ${health.tone === "bad" ? "text-bad" : health.tone === "warn" ? "text-warn" : "text-muted"}`}>
            {health.why}
          </p>
        )}
        {service.description && <p className="mt-1 text-sm break-words text-muted">{service.description}</p>}
        {(service.tags.length > 0 || service.roles.length > 0) && (
          <ul aria-label={`Tags and roles of ${service.name}`} className="mt-2 flex flex-wrap gap-1.5">
            {service.tags.map((tag) => (
              <li key={tag} className="min-w-0">
                <Badge>{tag}</Badge>
              </li>
            ))}
            {service.roles.map((role) => (
              <li key={role} className="min-w-0">
                <Badge tone="accent">role {role}</Badge>
              </li>
            ))}
          </ul>
        )}
      </div>
      <div className="grid min-w-0 content-start gap-3">
        <div className="grid grid-cols-3 gap-4 sm:gap-5">
          <Sparkline label="CPU" value={cores(service.health.cpu)} points={pointsOf(service.history, "cpu")} least={0.25} />
          <Sparkline label="Memory" value={bytes(service.health.rss_bytes)} points={pointsOf(service.history, "rss_bytes")} least={1} />
          <Sparkline label="Loop lag" value={duration(service.health.event_loop_lag_ms)} points={pointsOf(service.history, "event_loop_lag_ms")} least={50} />
        </div>
        <dl className="flex flex-wrap gap-x-5 gap-y-1 text-xs text-muted">
          <Fact name="address" value={service.address} isMono />
          <Fact name="version" value={service.version || "–"} />
          <Fact name="process" value={String(service.pid)} />
          <Fact name="lease" value={lease(service, now)} title={wholeMoment(momentOf(service.lease_expire_time))} />
          <Fact name="calls" value={String(service.health.in_flight)} />
          <Fact name="up" value={fromNow(momentOf(service.register_time), now).replace(" ago", "")} title={wholeMoment(momentOf(service.register_time))} />
        </dl>
      </div>
    </li>
  );
}

function Fact({ name, value, title, isMono }: { name: string; value: string; title?: string; isMono?: boolean }) {
  return (
    <div className="flex min-w-0 gap-1.5" title={title}>
      <dt>{name}</dt>
      <dd className={`min-w-0 break-all text-text tabular-nums ${isMono ? "font-mono" : ""}`}>{value}</dd>
    </div>
  );
}

function lease(service: ServiceView, now: number): string {
  const until = momentOf(service.lease_expire_time);
  if (until === null) return "none";
  return until > now ? `${Math.ceil((until - now) / 1_000)} s left` : `lapsed ${fromNow(until, now)}`;
}

function cores(share: number | null): string {
  return share === null ? "–" : `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
}
