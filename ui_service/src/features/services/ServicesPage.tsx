"use client";

import { ServerOff } from "lucide-react";

import { Badge } from "@/components/ui/Badge";
import { PageHead, Panel } from "@/components/ui/Panel";
import { SkeletonRows } from "@/components/ui/Skeleton";
import { EmptyState, ErrorState } from "@/components/ui/States";
import { useClock } from "@/components/useClock";
import { count } from "@/features/run/fns/format";
import { useConnection } from "@/live/LiveProvider";

import { byNeed, healthSaying } from "./fns/health";
import { ServiceCard } from "./ServiceCard";
import { useServices } from "./useServices";

/** The registry: who is there, and how everybody is. */
export function ServicesPage() {
  const { services, isPending, isError, error, refetch, dataUpdatedAt } = useServices();
  const isLive = useConnection().phase === "live";
  const clock = useClock();
  // while nobody tells, nothing is said to have lapsed since
  const now = isLive ? clock : dataUpdatedAt;
  const unwell = services.filter((each) => healthSaying(each, now).tone !== "good").length;
  return (
    <>
      <PageHead
        title="Services"
        aside={services.length > 0 && <Badge tone={unwell ? "warn" : "good"}>{unwell ? `${unwell} of ${services.length} not well` : "all well"}</Badge>}
      >
        {services.length ? `${count(services.length, "process", "processes")} registered.` : "What is registered with the control plane."}
      </PageHead>
      {isError && services.length > 0 && (
        <p role="alert" className="mb-3 rounded-md bg-warn-soft px-3 py-2 text-sm text-warn">
          Control does not answer. This is how the services were before.
        </p>
      )}
      <Panel>
        {isPending ? (
          <SkeletonRows rows={9} label="Loading services" />
        ) : isError && !services.length ? (
          <ErrorState error={error} onRetry={() => void refetch()} />
        ) : !services.length ? (
          <EmptyState icon={ServerOff} title="No service is registered">
            Processes register as they start. <code className="font-mono text-xs">waystation up</code> starts those that come with Waystation.
          </EmptyState>
        ) : (
          <ul aria-label="Services" className="divide-y divide-line">
            {byNeed(services, now).map((service) => (
              <ServiceCard key={service.instance_id} service={service} now={now} />
            ))}
          </ul>
        )}
      </Panel>
    </>
  );
}
