"use client";

import { type QueryClient, useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useState } from "react";

import { get } from "@/api/client";
import { keys } from "@/api/keys";
import { useControlEvent } from "@/live/LiveProvider";
import { useRunEvents } from "@/live/useRunEvents";

import { EMPTY_LOG, followed, type Story } from "../fns/runLog";
import { hasEnded, newerRun, runNow } from "../fns/runNow";
import type { RunView } from "../types";

/** What no event tells is seen so much later. */
const LOOK_AGAIN_MS = 10_000;

export interface RunData {
  run: RunView | null;
  story: Story;
  isLoading: boolean;
  error: unknown;
  retry: () => void;
}

/** A run with its story: fetched, told by control, and followed event by event. */
export function useRun(runId: string): RunData {
  const client = useQueryClient();
  const query = useQuery({
    queryKey: keys.run(runId),
    queryFn: async ({ signal }) => {
      const said = await get("/api/runs/{run_id}", { path: { run_id: runId }, signal });
      return newerRun(known(client, runId), said)!;
    },
    refetchInterval: ({ state }) => (state.data && hasEnded(state.data.state) ? false : LOOK_AGAIN_MS),
  });
  const hear = useCallback((run: RunView) => run.run_id === runId && takeRun(client, run), [client, runId]);
  useControlEvent("run_changed", hear);
  const { feed } = useRunEvents(runId);
  const [log, setLog] = useState(EMPTY_LOG);
  const next = followed(log, feed.events);
  if (next !== log) setLog(next);
  return {
    run: runNow(query.data ?? null, next.story),
    story: next.story,
    isLoading: query.isPending,
    error: query.error,
    retry: () => void query.refetch(),
  };
}

/** Keep what was said of a run, unless something newer is known. */
export function takeRun(client: QueryClient, said: RunView): void {
  client.setQueryData(keys.run(said.run_id), newerRun(known(client, said.run_id), said));
}

function known(client: QueryClient, runId: string): RunView | null {
  return client.getQueryData<RunView>(keys.run(runId)) ?? null;
}
