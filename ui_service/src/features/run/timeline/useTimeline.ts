"use client";

import { useCallback, useMemo, useState } from "react";

import { criticalPath } from "../fns/criticalPath";
import { breaksOf, epochsOf } from "../fns/epochs";
import { type Extent, extentOf, isRunning, type Viewport, wholeOf, zoomed } from "../fns/geometry";
import type { SpanSet } from "../fns/spanSet";
import { buildTree } from "../fns/spanTree";
import { visibleRows } from "../fns/visibleRows";
import { useNow } from "../hooks/useNow";

/** Later than any span: the path up to now is cut where it is drawn. */
const END_OF_TIME = 8.64e15;

/** All that the timeline draws, out of the spans; what needs all spans is done again only when they change. */
export function useTimeline(spans: SpanSet, runId: string, search: string) {
  const [folded, setFolded] = useState<ReadonlySet<string>>(new Set());
  const [zoom, setZoom] = useState<Viewport | null>(null);
  const tree = useMemo(() => buildTree(spans.values()), [spans]);
  const path = useMemo(() => criticalPath(tree, END_OF_TIME), [tree]);
  const epochs = useMemo(() => epochsOf(spans.values(), runId), [spans, runId]);
  const breaks = useMemo(() => breaksOf(epochs), [epochs]);
  const known = useMemo(() => extentOf(spans.values(), -Infinity), [spans]);
  const visible = useMemo(() => visibleRows(tree, folded, search), [tree, folded, search]);
  const isLive = useMemo(() => [...spans.values()].some(isRunning), [spans]);
  const isOpen = isLive || breaks.some((each) => each.toMs === null);
  const now = Math.max(useNow(isOpen), known.endMs);
  const endMs = isOpen ? now : known.endMs;
  const extent: Extent = useMemo(() => ({ startMs: known.startMs, endMs }), [known.startMs, endMs]);
  const view = useMemo(() => zoom ?? wholeOf(extent), [zoom, extent]);
  const total = extent.endMs - extent.startMs;
  const fold = useCallback((key: string, isFolded?: boolean) => {
    setFolded((before) => {
      const next = new Set(before);
      if (isFolded ?? !before.has(key)) next.add(key);
      else next.delete(key);
      return next;
    });
  }, []);
  return {
    tree,
    path,
    epochs,
    breaks,
    visible,
    folded,
    fold,
    foldAll: (isFolded: boolean) =>
      setFolded(new Set(isFolded ? tree.rows.filter((row) => row.childCount && row.depth).map((row) => row.key) : [])),
    nowMs: now,
    extent,
    view,
    isZoomed: zoom !== null,
    zoomTo: setZoom,
    zoomBy: (factor: number, anchor = 0.5) => {
      const next = zoomed(view, factor, anchor, total);
      setZoom(next.fromMs <= 0 && next.toMs >= total ? null : next);
    },
    resetZoom: () => setZoom(null),
  };
}

export type TimelineModel = ReturnType<typeof useTimeline>;
