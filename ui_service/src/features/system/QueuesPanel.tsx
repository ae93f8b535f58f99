"use client";

import { useQuery } from "@tanstack/react-query";

import { get } from "@/api/client";
import { keys } from "@/api/keys";
import { Panel } from "@/components/ui/Panel";
import { SkeletonRows } from "@/components/ui/Skeleton";
import { ErrorState } from "@/components/ui/States";
import { Table, Td, Th } from "@/components/ui/Table";

import { type Gauge, queueRows } from "./fns/queues";

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
        <Table label="Queues">
          <thead>
            <tr>
              <Th>Service</Th>
              <Th>Waiting</Th>
              <Th>Given up</Th>
            </tr>
          </thead>
          <tbody>
            {queueRows(query.data?.queues ?? []).map((row) => (
              <tr key={row.service} data-queue={row.service}>
                <Td className="font-medium">{row.service}</Td>
                <Td>
                  <Gauges gauges={row.waiting} />
                </Td>
                <Td>
                  <Gauges gauges={row.dropped} isBad />
                </Td>
              </tr>
            ))}
          </tbody>
        </Table>
      )}
    </Panel>
  );
}

function Gauges({ gauges, isBad }: { gauges: readonly Gauge[]; isBad?: boolean }) {
  if (!gauges.length) return <span className="text-muted">–</span>;
  return (
    <ul className="flex flex-wrap gap-x-3 gap-y-0.5 tabular-nums">
      {gauges.map(({ name, count }) => (
        <li key={name} className={count === 0 ? "text-muted" : isBad ? "font-medium text-bad" : "font-medium"}>
          {count.toLocaleString("en")} {name}
        </li>
      ))}
    </ul>
  );
}
