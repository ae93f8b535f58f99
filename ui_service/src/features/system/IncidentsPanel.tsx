"use client";

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { ShieldCheck } from "lucide-react";
import Link from "next/link";
import { useCallback } from "react";

import { get } from "@/api/client";
import { keys } from "@/api/keys";
import type { IncidentList, IncidentView } from "@/api/schema";
import { Badge } from "@/components/ui/Badge";
import { Moment } from "@/components/ui/Moment";
import { Panel } from "@/components/ui/Panel";
import { SkeletonRows } from "@/components/ui/Skeleton";
import { EmptyState, ErrorState } from "@/components/ui/States";
import { duration } from "@/features/run/fns/format";
import { useControlEvent } from "@/live/LiveProvider";

import { INCIDENTS, withIncident } from "./fns/incidents";

const SHOWN = 50;

/** Crashes, and what became of them. */
export function IncidentsPanel() {
  const client = useQueryClient();
  useControlEvent(
    "incident",
    useCallback(
      (told: IncidentView) =>
        client.setQueryData<IncidentList>(keys.incidents, (list) => list && withIncident(list, told)),
      [client],
    ),
  );
  const query = useQuery({
    queryKey: keys.incidents,
    queryFn: ({ signal }) => get("/api/incidents", { query: { page_size: SHOWN }, signal }),
  });
  return (
    <Panel title="Crashes and recoveries" className="xl:col-span-2">
      {query.isPending ? (
        <SkeletonRows label="Loading incidents" />
      ) : query.isError && !query.data ? (
        <ErrorState error={query.error} onRetry={() => void query.refetch()} />
      ) : !query.data?.incidents.length ? (
        <EmptyState icon={ShieldCheck} title="Nothing has crashed">
          When a process dies, this says so, and how its runs went on.
        </EmptyState>
      ) : (
        <ul aria-label="Crashes and recoveries" tabIndex={0} className="max-h-96 divide-y divide-line overflow-y-auto">
          {query.data.incidents.map((incident) => (
            <Incident key={incident.number} incident={incident} />
          ))}
        </ul>
      )}
    </Panel>
  );
}

function Incident({ incident }: { incident: IncidentView }) {
  const { label, tone } = INCIDENTS[incident.kind];
  return (
    <li data-incident={incident.kind} className="grid grid-cols-[minmax(0,1fr)_auto] gap-x-4 gap-y-1 px-4 py-2.5 sm:grid-cols-[8.5rem_minmax(0,1fr)_auto]">
      <span className="col-span-2 flex items-center sm:col-span-1">
        <Badge tone={tone} dot>
          {label}
        </Badge>
      </span>
      <span className="min-w-0 text-sm break-words">
        {incident.message}
        {incident.kind === "process_lost" && incident.gap_ms !== null && <span className="text-muted"> Nothing was heard of it for {duration(incident.gap_ms)}.</span>}
        {incident.run_id && (
          <>
            {" "}
            <Link href={`/runs/${encodeURIComponent(incident.run_id)}`} className="text-accent underline underline-offset-2">
              Open the run
            </Link>
          </>
        )}
      </span>
      <span className="text-right text-sm text-muted">
        <Moment at={incident.time} />
      </span>
    </li>
  );
}
