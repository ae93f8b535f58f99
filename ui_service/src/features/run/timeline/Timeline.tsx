"use client";

import { useVirtualizer } from "@tanstack/react-virtual";
import { Waypoints } from "lucide-react";
import { type CSSProperties, type KeyboardEvent, useCallback, useEffect, useMemo, useRef, useState } from "react";

import { cn } from "@/components/cn";
import { EmptyState, ErrorState } from "@/components/ui/States";
import { SkeletonRows } from "@/components/ui/Skeleton";

import { type Marker, markersOf } from "../fns/markers";
import type { PageView } from "../fns/pageUrl";
import type { Story } from "../fns/runLog";
import { actionOf, moved, nextMatch, type TimelineAction } from "../fns/timelineKeys";
import type { RunSpans } from "../hooks/useRunSpans";
import { breakSaying, Breaks } from "./Breaks";
import { Ruler } from "./Ruler";
import { SpanDrawer } from "./SpanDrawer";
import { ROW_PX, SpanRow } from "./SpanRow";
import { Toolbar } from "./Toolbar";
import { type TimelineModel, useTimeline } from "./useTimeline";

/** Names, bars, and a little room for bars that end at the edge. */
const COLUMNS = {
  "--timeline-columns": "clamp(9rem, 38%, 24rem) minmax(0, 1fr) 0.75rem",
  "--timeline-indent": "clamp(0.5rem, 1vw, 0.875rem)",
} as CSSProperties;
const NO_SECTIONS = [] as const;

export interface TimelineProps {
  runId: string;
  story: Story;
  spans: RunSpans;
  view: PageView;
  onView: (change: Partial<PageView>) => void;
  onRetry: () => void;
}

/** The run's spans on one time axis. */
export function Timeline(props: TimelineProps) {
  const { spans } = props;
  if (spans.spans.size) return <Waterfall {...props} />;
  if (spans.isLoading) return <SkeletonRows rows={8} label="Loading spans" />;
  if (spans.error) return <ErrorState error={spans.error} onRetry={props.onRetry} />;
  return (
    <EmptyState icon={Waypoints} title="No spans yet">
      They appear while the run goes on, unless its spans are off or have been deleted.
    </EmptyState>
  );
}

function Waterfall({ runId, story, spans, view, onView }: TimelineProps) {
  const model = useTimeline(spans.spans, runId, view.search);
  const markers = useMemo(() => markersOf(story), [story]);
  const [activeKey, setActive] = useState(view.span);
  const [hasPath, setPath] = useState(true);
  const { rows, matches } = model.visible;
  const keys = useMemo(() => rows.map((row) => row.key), [rows]);
  const opened = model.tree.byKey.get(view.span);

  const open = useCallback(
    (key: string) => {
      setActive(key);
      onView({ span: key });
    },
    [onView],
  );
  function go(key: string) {
    if (!key) return;
    setActive(key);
    if (view.span) onView({ span: key });
  }
  function act(action: TimelineAction) {
    const index = keys.indexOf(activeKey);
    switch (action.type) {
      case "move":
        return go(keys[moved(index, action.by, keys.length)] ?? "");
      case "edge":
        return go((action.end === "first" ? keys[0] : keys.at(-1)) ?? "");
      case "match":
        return go(nextMatch(matches, keys, activeKey, action.by));
      case "fold":
      case "unfold": {
        const row = model.tree.byKey.get(activeKey);
        if (action.type === "fold" && row && (!row.childCount || model.folded.has(row.key))) return go(row.parentKey);
        return row?.childCount ? model.fold(row.key, action.type === "fold") : undefined;
      }
      case "open":
        return activeKey ? onView({ span: activeKey }) : undefined;
      case "close":
        return view.span ? onView({ span: "" }) : model.resetZoom();
      case "zoom":
        return model.zoomBy(action.factor);
      case "reset":
        return model.resetZoom();
    }
  }
  return (
    <div className={cn("lg:grid", opened && "lg:grid-cols-[minmax(0,1fr)_24rem]")} style={COLUMNS}>
      <div className="min-w-0">
        <Toolbar
          model={model}
          search={view.search}
          onSearch={(search) => onView({ search })}
          onNextMatch={(by) => act({ type: "match", by })}
          hasPath={hasPath}
          onPath={setPath}
        />
        {model.breaks.map((each) => (
          <p key={each.fromMs} className={cn("border-b border-line px-3 py-1.5 text-sm", each.cause === "lost" ? "bg-bad-soft text-bad" : "text-muted")}>
            {breakSaying(each)}
          </p>
        ))}
        {spans.isCut && <p className="border-b border-line bg-warn-soft px-3 py-1.5 text-sm text-warn">The run has more spans than are shown.</p>}
        <Ruler
          extent={model.extent}
          view={model.view}
          markers={markers}
          onZoomTo={model.zoomTo}
          onGoTo={(tab) => onView({ tab })}
        />
        <Rows
          model={model}
          markers={markers}
          hasPath={hasPath}
          activeKey={activeKey}
          onAction={act}
          onOpen={open}
        />
      </div>
      {opened && (
        <SpanDrawer
          span={opened.span}
          nowMs={model.nowMs}
          traceStartMs={model.extent.startMs}
          sections={model.path.get(opened.key) ?? NO_SECTIONS}
          isKnown={(key) => model.tree.byKey.has(key)}
          onGoTo={go}
          onClose={() => onView({ span: "" })}
        />
      )}
    </div>
  );
}

interface RowsProps {
  model: TimelineModel;
  markers: readonly Marker[];
  hasPath: boolean;
  activeKey: string;
  onAction: (action: TimelineAction) => void;
  onOpen: (key: string) => void;
}

/** Only the rows on the screen are there, and some around them. */
function Rows({ model, markers, hasPath, activeKey, onAction, onOpen }: RowsProps) {
  const box = useRef<HTMLDivElement>(null);
  const { rows, matches } = model.visible;
  // eslint-disable-next-line react-hooks/incompatible-library -- the compiler is not in use
  const virtual = useVirtualizer({ count: rows.length, getScrollElement: () => box.current, estimateSize: () => ROW_PX, overscan: 6 });
  const activeIndex = rows.findIndex((row) => row.key === activeKey);
  useEffect(() => {
    if (activeIndex >= 0) virtual.scrollToIndex(activeIndex);
    // a row that moves because others come must not move the page
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [activeKey, activeIndex < 0]);
  const firstMatch = matches[0];
  useEffect(() => {
    if (firstMatch !== undefined) virtual.scrollToOffset(0);
    // eslint-disable-next-line react-hooks/exhaustive-deps -- the virtualizer is the same all the time
  }, [firstMatch]);
  const fitting = useMemo(() => new Set(matches), [matches]);
  const epochs = useMemo(() => new Map(model.epochs.map((each) => [each.key, each])), [model.epochs]);
  const messages = useMemo(() => countBySpan(markers), [markers]);
  function onKeyDown(event: KeyboardEvent) {
    const action = actionOf(event);
    if (!action || event.target !== event.currentTarget) return;
    event.preventDefault();
    onAction(action);
  }
  return (
    <div
      ref={box}
      role="treegrid"
      tabIndex={0}
      aria-label="Spans"
      aria-rowcount={rows.length}
      aria-activedescendant={activeIndex >= 0 ? rowId(activeIndex) : undefined}
      onKeyDown={onKeyDown}
      className="max-h-[calc(100dvh-15rem)] min-h-56 overflow-x-hidden overflow-y-auto outline-offset-[-2px]"
    >
      {rows.length === 0 && (
        <div role="row">
          <p role="gridcell" className="px-4 py-10 text-center text-muted">
            No span fits the search.
          </p>
        </div>
      )}
      <div role="rowgroup" className="relative" style={{ height: virtual.getTotalSize() }}>
        <Breaks breaks={model.breaks} extent={model.extent} view={model.view} nowMs={model.nowMs} />
        {virtual.getVirtualItems().map(({ index, start }) => {
          const row = rows[index]!;
          return (
            <SpanRow
              key={row.key}
              id={rowId(index)}
              row={row}
              number={index + 1}
              top={start}
              extent={model.extent}
              view={model.view}
              nowMs={model.nowMs}
              sections={(hasPath && model.path.get(row.key)) || NO_SECTIONS}
              epoch={epochs.get(row.key)}
              messageCount={messages.get(row.span.span_id) ?? 0}
              isActive={row.key === activeKey}
              isMatch={fitting.has(row.key)}
              isFolded={model.folded.has(row.key)}
              onOpen={onOpen}
              onFold={model.fold}
            />
          );
        })}
      </div>
    </div>
  );
}

function countBySpan(markers: readonly Marker[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { kind, spanId } of markers) if (kind === "message") counts.set(spanId, (counts.get(spanId) ?? 0) + 1);
  return counts;
}

function rowId(index: number): string {
  return `span-row-${index}`;
}
