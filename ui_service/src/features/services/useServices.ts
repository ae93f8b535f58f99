"use client";

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback } from "react";

import { get } from "@/api/client";
import { keys } from "@/api/keys";
import type { ServiceList } from "@/api/schema";
import { useControlEvent } from "@/live/LiveProvider";

import { withHistory } from "./fns/samples";

/** Figures of a heartbeat are news to nobody: they are asked for. */
const EVERY_MS = 2_000;
const SAMPLES = 120;

/** The registered processes, and how each was over its last heartbeats. */
export function useServices() {
  const client = useQueryClient();
  useControlEvent(
    "registry_changed",
    useCallback(
      (told: ServiceList) =>
        client.setQueryData<ServiceList>(keys.services, (known) => withHistory(told, known)),
      [client],
    ),
  );
  const query = useQuery({
    queryKey: keys.services,
    queryFn: ({ signal }) => get("/api/services", { query: { samples: SAMPLES }, signal }),
    refetchInterval: EVERY_MS,
  });
  return { ...query, services: query.data?.services ?? [] };
}
