/** Where a span's bar is on the time axis. Pure, and total: whatever the times say, the numbers are finite and inside. */
import type { SpanView } from "../types";

/** The whole time that the trace takes. */
export interface Extent {
  readonly startMs: number;
  /** At least `startMs` + 0.001, so that one can divide by the length. */
  readonly endMs: number;
}

/** The part of the extent that is on the screen, in ms from its start. */
export interface Viewport {
  readonly fromMs: number;
  readonly toMs: number;
}

/** A bar in percent of the width. */
export interface Bar {
  readonly left: number;
  readonly width: number;
  /** False when the span is wholly outside the viewport. */
  readonly isVisible: boolean;
}

export const MIN_LENGTH_MS = 0.001;
/** So far one can zoom in. */
export const MIN_VIEW_MS = 0.05;

export function isRunning(span: SpanView): boolean {
  return span.state === "running" && span.end_unix_ms === null;
}

/** The end of a span: until now when it runs, never before its start. */
export function endOf(span: SpanView, nowMs: number): number {
  const end = span.end_unix_ms ?? (span.state === "running" ? nowMs : span.start_unix_ms);
  return Number.isFinite(end) ? Math.max(end, span.start_unix_ms) : span.start_unix_ms;
}

export function durationOf(span: SpanView, nowMs: number): number {
  return endOf(span, nowMs) - span.start_unix_ms;
}

/** `nowMs` counts only while something runs. */
export function extentOf(spans: Iterable<SpanView>, nowMs: number): Extent {
  let start = Infinity;
  let end = -Infinity;
  for (const span of spans) {
    if (!Number.isFinite(span.start_unix_ms)) continue;
    start = Math.min(start, span.start_unix_ms);
    end = Math.max(end, endOf(span, nowMs));
  }
  if (!Number.isFinite(start)) return { startMs: nowMs, endMs: nowMs + MIN_LENGTH_MS };
  return { startMs: start, endMs: Math.max(end, start + MIN_LENGTH_MS) };
}

export function wholeOf(extent: Extent): Viewport {
  return { fromMs: 0, toMs: extent.endMs - extent.startMs };
}

export function barOf(startMs: number, endMs: number, extent: Extent, view: Viewport): Bar {
  const length = Math.max(view.toMs - view.fromMs, MIN_LENGTH_MS);
  const from = percent((startMs - extent.startMs - view.fromMs) / length);
  const to = percent((endMs - extent.startMs - view.fromMs) / length);
  const left = Math.min(from, to);
  const begins = startMs - extent.startMs;
  const ends = Math.max(endMs - extent.startMs, begins);
  return { left, width: Math.abs(to - from), isVisible: begins <= view.toMs && ends >= view.fromMs };
}

/** Percent of the width, inside it; 0 for what is no number. */
function percent(share: number): number {
  return Number.isNaN(share) ? 0 : Math.min(100, Math.max(0, share * 100));
}

/** Zoom by a factor (below 1 zooms in) around a place given as a share of the width. */
export function zoomed(view: Viewport, factor: number, anchor: number, totalMs: number): Viewport {
  const length = view.toMs - view.fromMs;
  const wanted = Math.min(Math.max(length * factor, Math.min(MIN_VIEW_MS, totalMs)), totalMs);
  const share = Math.min(1, Math.max(0, anchor));
  const at = view.fromMs + length * share;
  return clamped({ fromMs: at - wanted * share, toMs: at + wanted * (1 - share) }, totalMs);
}

/** Move by a share of the width. */
export function panned(view: Viewport, share: number, totalMs: number): Viewport {
  const by = (view.toMs - view.fromMs) * share;
  return clamped({ fromMs: view.fromMs + by, toMs: view.toMs + by }, totalMs);
}

function clamped(view: Viewport, totalMs: number): Viewport {
  const length = Math.min(view.toMs - view.fromMs, totalMs);
  const from = Math.min(Math.max(0, view.fromMs), totalMs - length);
  return { fromMs: from, toMs: from + length };
}

/** Round times for the axis, at most `count` + 1 of them, in ms from the extent's start. */
export function ticksOf(view: Viewport, count: number): number[] {
  const length = Math.max(view.toMs - view.fromMs, MIN_LENGTH_MS);
  const rough = length / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((each) => each * power >= rough) ?? 10);
  const first = Math.ceil(view.fromMs / step);
  const ticks: number[] = [];
  for (let index = first; index * step <= view.toMs && ticks.length <= count; index++) ticks.push(index * step);
  return ticks;
}
