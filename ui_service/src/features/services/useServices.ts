"use client";

import { useQuery } from "@tanstack/react-query";
import { useCallback, useEffect, useState } from "react";

import { get } from "@/api/client";
import { keys } from "@/api/keys";
import type { SpanView } from "@/api/schema";
import { useControlEvent } from "@/live/LiveProvider";

import { type Samples, sampleOfService, sampleOfSpan, withSamples } from "./fns/samples";

/** Figures of a heartbeat are news to nobody: they are asked for. */
const EVERY_MS = 2_000;
const RUNS_LOOKED_AT = 5;

/** The registered processes, and how each was over the last minutes. */
export function useServices() {
  const query = useQuery({
    queryKey: keys.services,
    queryFn: ({ signal }) => get("/api/services", { signal }),
    refetchInterval: EVERY_MS,
  });
  const [samples, setSamples] = useState<Samples>({});
  const take = useCallback((fresh: Parameters<typeof withSamples>[1]) => {
    setSamples((before) => withSamples(before, fresh, Date.now()));
  }, []);
  const services = query.data?.services;
  useEffect(() => take((services ?? []).map((each) => [each.instance_id, sampleOfService(each)])), [services, take]);
  useControlEvent(
    "span_ended",
    useCallback((span: SpanView) => {
      const found = sampleOfSpan(span);
      if (found) take([[span.instance_id, found]]);
    }, [take]),
  );
  const past = useQuery({ queryKey: ["services", "past"], queryFn: ({ signal }) => fetchPast(signal), staleTime: Infinity });
  useEffect(() => take(past.data ?? []), [past.data, take]);
  return { ...query, services: services ?? [], samples };
}

/** How the processes were during the newest runs, as the spans of these say. */
async function fetchPast(signal: AbortSignal) {
  const { runs } = await get("/api/runs", { query: { page_size: RUNS_LOOKED_AT }, signal });
  const lists = await Promise.all(
    runs.map((run) => get("/api/runs/{run_id}/spans", { path: { run_id: run.run_id }, signal })),
  );
  return lists.flatMap(({ spans }) => spans.map((span) => [span.instance_id, sampleOfSpan(span)] as const));
}
