"use client";

import { type InfiniteData, useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useMemo, useRef } from "react";

import { get } from "@/api/client";
import { keys } from "@/api/keys";
import type { RunList, RunView } from "@/api/schema";
import { useControlEvent } from "@/live/LiveProvider";

import type { RunFilters } from "./fns/filters";
import { runsOf, withRun } from "./fns/runPages";

const PAGE_SIZE = 50;
/** After something was told the list is fetched once, however much more is told meanwhile. */
const REFETCH_MS = 700;

/** Runs that fit the filters, newest first, kept right by control's events. */
export function useRunList({ states, workflow, service, text }: RunFilters) {
  const client = useQueryClient();
  const filters = { state: [...states], workflow, service, text };
  const key = [...keys.runs, filters];
  const query = useInfiniteQuery({
    queryKey: key,
    initialPageParam: "",
    queryFn: ({ pageParam, signal }) =>
      get("/api/runs", { query: { ...filters, page_size: PAGE_SIZE, page_token: pageParam }, signal }),
    getNextPageParam: (last) => last.next_page_token || undefined,
    placeholderData: (before) => before,
  });
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const hear = useCallback(
    (run: RunView) => {
      client.setQueriesData<InfiniteData<RunList>>({ queryKey: keys.runs }, (pages) => pages && withRun(pages, run));
      timer.current ??= setTimeout(() => {
        timer.current = undefined;
        void client.invalidateQueries({ queryKey: keys.runs });
      }, REFETCH_MS);
    },
    [client],
  );
  useControlEvent("run_changed", hear);
  const runs = useMemo(() => runsOf(query.data), [query.data]);
  return { ...query, runs };
}
