"use client";

import { useQuery } from "@tanstack/react-query";

import { get } from "@/api/client";
import { keys } from "@/api/keys";
import type { GatewayHealth } from "@/api/schema";
import { Badge } from "@/components/ui/Badge";
import { PageHead } from "@/components/ui/Panel";
import { count, duration } from "@/features/run/fns/format";

import { IncidentsPanel } from "./IncidentsPanel";
import { ModePanel } from "./ModePanel";
import { QueuesPanel } from "./QueuesPanel";
import { StoragePanel } from "./StoragePanel";

const EVERY_MS = 5_000;

/** How the mesh itself is. */
export function SystemPage() {
  const query = useQuery({
    queryKey: keys.health,
    queryFn: ({ signal }) => get("/api/health", { signal }),
    refetchInterval: EVERY_MS,
  });
  return (
    <>
      <PageHead title="System" aside={<ControlState isError={query.isError} isPending={query.isPending} />}>
        {query.data ? said(query.data) : "How the mesh itself is."}
      </PageHead>
      <div className="grid items-start gap-4 xl:grid-cols-2">
        <ModePanel />
        <IncidentsPanel />
        <StoragePanel />
        <QueuesPanel />
      </div>
    </>
  );
}

function said(health: GatewayHealth): string {
  const lost = health.lost_span_count ? `, ${health.lost_span_count.toLocaleString("en")} of them lost with their process` : "";
  return `Control ${health.version}, up for ${duration(Math.floor(health.uptime_s) * 1_000)}, keeps ${count(health.span_count, "span")}${lost}.`;
}

function ControlState({ isError, isPending }: { isError: boolean; isPending: boolean }) {
  if (isPending) return null;
  return <Badge tone={isError ? "bad" : "good"}>{isError ? "control does not answer" : "control serves"}</Badge>;
}
