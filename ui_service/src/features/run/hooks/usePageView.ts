"use client";

import { useSearchParams } from "next/navigation";
import { useCallback, useMemo } from "react";

import { type PageView, readView, writeView } from "../fns/pageUrl";

/** What of the page its address restores, and how to change it. */
export function usePageView(): [PageView, (change: Partial<PageView>) => void] {
  const query = useSearchParams();
  const view = useMemo(() => readView(new URLSearchParams(query)), [query]);
  const change = useCallback((part: Partial<PageView>) => {
    // the address itself is asked: two changes of one moment both hold
    const now = readView(new URLSearchParams(window.location.search));
    window.history.replaceState(null, "", window.location.pathname + writeView({ ...now, ...part }));
  }, []);
  return [view, change];
}
