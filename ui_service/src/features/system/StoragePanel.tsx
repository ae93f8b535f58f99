"use client";

import { useQuery } from "@tanstack/react-query";

import { get } from "@/api/client";
import { keys } from "@/api/keys";
import type { StoreView } from "@/api/schema";
import { Badge } from "@/components/ui/Badge";
import { Moment } from "@/components/ui/Moment";
import { Panel } from "@/components/ui/Panel";
import { SkeletonRows } from "@/components/ui/Skeleton";
import { ErrorState } from "@/components/ui/States";
import { Table, Td, Th } from "@/components/ui/Table";
import { bytes } from "@/features/run/fns/format";

const EVERY_MS = 5_000;

/** What the stores hold, whether writing fails, and the newest backups. */
export function StoragePanel() {
  const query = useQuery({
    queryKey: keys.stores,
    queryFn: ({ signal }) => get("/api/storage", { signal }),
    refetchInterval: EVERY_MS,
  });
  return (
    <Panel title="Storage and backups">
      {query.isPending ? (
        <SkeletonRows rows={3} label="Loading stores" />
      ) : query.isError && !query.data ? (
        <ErrorState error={query.error} onRetry={() => void query.refetch()} />
      ) : (
        <Table label="Stores">
          <thead>
            <tr>
              <Th>Store</Th>
              <Th className="text-right">Used</Th>
              <Th className="text-right">Free</Th>
              <Th>Writes</Th>
              <Th>Newest backup</Th>
            </tr>
          </thead>
          <tbody>
            {query.data?.stores.map((store) => (
              <Store key={`${store.service}/${store.instance_id}`} store={store} />
            ))}
          </tbody>
        </Table>
      )}
      <p className="border-t border-line px-4 py-3 text-xs text-muted">
        <code className="font-mono">waystation backup create</code> makes a backup at any time.
      </p>
    </Panel>
  );
}

function Store({ store }: { store: StoreView }) {
  const errors = store.write_errors;
  return (
    <tr data-store={store.service}>
      <Td className="font-medium">{store.service}</Td>
      <Td className="text-right whitespace-nowrap tabular-nums">{store.used_bytes === null ? "–" : bytes(store.used_bytes)}</Td>
      <Td className="text-right whitespace-nowrap text-muted tabular-nums">{store.free_bytes === null ? "–" : bytes(store.free_bytes)}</Td>
      <Td>{errors ? <Badge tone="bad">{errors} failed</Badge> : <span className="text-muted">fine</span>}</Td>
      <Td className="whitespace-nowrap text-muted">
        <Backup store={store} />
      </Td>
    </tr>
  );
}

function Backup({ store }: { store: StoreView }) {
  if (store.backup_count === null) return "none are made";
  if (store.newest_backup_time === null) return "none yet";
  return (
    <>
      <Moment at={store.newest_backup_time} />, {bytes(store.newest_backup_bytes ?? 0)} ({store.backup_count} kept)
    </>
  );
}
