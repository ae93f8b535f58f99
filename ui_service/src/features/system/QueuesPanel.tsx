"use client";

import { useQuery } from "@tanstack/react-query";

import { get } from "@/api/client";
import { keys } from "@/api/keys";
import { Badge } from "@/components/ui/Badge";
import { Panel } from "@/components/ui/Panel";
import { SkeletonRows } from "@/components/ui/Skeleton";
import { ErrorState } from "@/components/ui/States";
import { Table, Td, Th } from "@/components/ui/Table";

import { queueRows } from "./fns/queues";

const EVERY_MS = 3_000;

/** What waits in control and in the services, and what was given up. */
export function QueuesPanel() {
  const query = useQuery({
    queryKey: keys.queues,
    queryFn: ({ signal }) => get("/api/queues", { signal }),
    refetchInterval: EVERY_MS,
  });
  return (
    <Panel title="Queues">
      {query.isPending ? (
        <SkeletonRows rows={3} label="Loading queues" />
      ) : query.isError && !query.data ? (
        <ErrorState error={query.error} onRetry={() => void query.refetch()} />
      ) : (
        <div className="max-h-96 overflow-y-auto">
          <Table label="Queues">
            <thead>
              <tr>
                <Th>Service</Th>
                <Th>What waits</Th>
                <Th className="text-right">Waiting</Th>
                <Th className="text-right">Dropped</Th>
              </tr>
            </thead>
            <tbody>
              {queueRows(query.data?.queues ?? []).map((row) => (
                <tr key={row.key} data-queue={row.key}>
                  <Td className="font-medium">{row.service}</Td>
                  <Td>{row.label}</Td>
                  <Td className="text-right tabular-nums">{row.waiting ?? <span className="text-muted">–</span>}</Td>
                  <Td className="text-right tabular-nums">
                    {row.isBad ? <Badge tone="bad">{row.dropped}</Badge> : <span className="text-muted">{row.dropped ?? "–"}</span>}
                  </Td>
                </tr>
              ))}
            </tbody>
          </Table>
        </div>
      )}
    </Panel>
  );
}
