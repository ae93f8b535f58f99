"use client";

import { useQuery } from "@tanstack/react-query";
import { useMemo, useSyncExternalStore } from "react";

import { get } from "@/api/client";
import { keys } from "@/api/keys";
import { useControlEvent } from "@/live/LiveProvider";

import type { SpanSet } from "../fns/spanSet";
import { SpanFeed } from "../spanFeed";
import type { SpanView } from "../types";

/** Pages are small enough that reading one does not hold the page up. */
const PAGE_SIZE = 1_000;
const MAX_PAGES = 50;
const NO_SPANS: SpanSet = new Map();

export interface RunSpans {
  spans: SpanSet;
  isLoading: boolean;
  /** Why they could not be fetched; what is there is shown all the same. */
  error: unknown;
  /** Whether there are more than are shown. */
  isCut: boolean;
}

/** The spans of a run: fetched, then followed. The stream's return fetches them anew. */
export function useRunSpans(runId: string): RunSpans {
  const feed = useMemo(() => new SpanFeed(runId), [runId]);
  const query = useQuery({
    queryKey: keys.runSpans(runId),
    queryFn: ({ signal }) => fetchAll(runId, feed, signal),
  });
  useControlEvent("span_started", feed.hear);
  useControlEvent("span_ended", feed.hear);
  const spans = useSyncExternalStore(feed.spans.subscribe, feed.spans.get, () => NO_SPANS);
  return { spans, isLoading: query.isPending, error: query.error, isCut: query.data?.isCut ?? false };
}

async function fetchAll(runId: string, feed: SpanFeed, signal: AbortSignal): Promise<{ isCut: boolean }> {
  let token = "";
  let waiting: SpanView[] = [];
  for (let page = 0; page < MAX_PAGES; page++) {
    const query = { page_size: PAGE_SIZE, page_token: token };
    const list = await get("/api/runs/{run_id}/spans", { path: { run_id: runId }, query, signal });
    waiting.push(...list.spans);
    token = list.next_page_token;
    // the first page at once, later ones when they double what is there: all is laid out anew each time
    if (!token || page === MAX_PAGES - 1 || waiting.length >= feed.spans.get().size) {
      feed.add(waiting);
      waiting = [];
    }
    if (!token) return { isCut: false };
  }
  return { isCut: true };
}
