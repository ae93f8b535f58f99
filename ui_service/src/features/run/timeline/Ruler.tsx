"use client";

import { CircleHelp, Mail, RotateCcw, ShieldAlert } from "lucide-react";
import { type PointerEvent, useRef, useState } from "react";

import { duration } from "../fns/format";
import { barOf, type Extent, ticksOf, type Viewport } from "../fns/geometry";
import type { Marker } from "../fns/markers";
import type { Tab } from "../fns/pageUrl";

const ICONS = { message: Mail, question: CircleHelp, intervention: ShieldAlert, resumed: RotateCcw };
/** A shorter drag is a click. */
const MIN_DRAG = 0.01;

export interface RulerProps {
  extent: Extent;
  view: Viewport;
  markers: readonly Marker[];
  onZoomTo: (view: Viewport) => void;
  onGoTo: (tab: Tab) => void;
}

/** The time axis: ticks, what happened apart from spans, and a place to drag over what one wants to see closer. */
export function Ruler({ extent, view, markers, onZoomTo, onGoTo }: RulerProps) {
  const box = useRef<HTMLDivElement>(null);
  const [drag, setDrag] = useState<{ from: number; to: number } | null>(null);
  function share(event: PointerEvent): number {
    const { left, width } = box.current!.getBoundingClientRect();
    return width ? Math.min(1, Math.max(0, (event.clientX - left) / width)) : 0;
  }
  function finish() {
    if (drag && Math.abs(drag.to - drag.from) > MIN_DRAG) {
      const length = view.toMs - view.fromMs;
      const [from, to] = [Math.min(drag.from, drag.to), Math.max(drag.from, drag.to)];
      onZoomTo({ fromMs: view.fromMs + from * length, toMs: view.fromMs + to * length });
    }
    setDrag(null);
  }
  return (
    <div className="grid grid-cols-(--timeline-columns) border-b border-line bg-surface text-xs text-muted">
      <div className="flex items-center px-3">Span</div>
      <div
        ref={box}
        title="Drag to zoom in"
        className="relative h-9 cursor-col-resize touch-pan-y overflow-hidden select-none"
        onPointerDown={(event) => {
          if (event.button !== 0 || event.target instanceof HTMLButtonElement) return;
          event.currentTarget.setPointerCapture(event.pointerId);
          setDrag({ from: share(event), to: share(event) });
        }}
        onPointerMove={(event) => drag && setDrag({ ...drag, to: share(event) })}
        onPointerUp={finish}
        onPointerCancel={() => setDrag(null)}
      >
        {ticksOf(view, 5).map((tick) => (
          <Tick key={tick} at={tick} view={view} />
        ))}
        {markers.map((marker) => (
          <Mark key={marker.id} marker={marker} extent={extent} view={view} onGoTo={onGoTo} />
        ))}
        {drag && (
          <div
            className="pointer-events-none absolute inset-y-0 border-x border-accent bg-accent-soft opacity-70"
            style={{ left: `${Math.min(drag.from, drag.to) * 100}%`, width: `${Math.abs(drag.to - drag.from) * 100}%` }}
          />
        )}
      </div>
    </div>
  );
}

function Tick({ at, view }: { at: number; view: Viewport }) {
  const left = ((at - view.fromMs) / Math.max(view.toMs - view.fromMs, Number.MIN_VALUE)) * 100;
  return (
    <span className="pointer-events-none absolute inset-y-0 border-l border-line" style={{ left: `${left}%` }}>
      {left < 93 && <span className="pl-1 leading-5 tabular-nums whitespace-nowrap">{duration(at)}</span>}
    </span>
  );
}

function Mark({ marker, extent, view, onGoTo }: { marker: Marker; extent: Extent; view: Viewport; onGoTo: (tab: Tab) => void }) {
  const { left, isVisible } = barOf(marker.timeMs, marker.timeMs, extent, view);
  const Icon = ICONS[marker.kind];
  if (!isVisible) return null;
  return (
    <button
      type="button"
      title={marker.label}
      aria-label={marker.label}
      onClick={() => onGoTo(marker.tab)}
      className="absolute bottom-0 grid size-4 -translate-x-1/2 place-items-center rounded text-accent hover:bg-hover"
      style={{ left: `clamp(8px, ${left}%, calc(100% - 8px))` }}
    >
      <Icon aria-hidden className="pointer-events-none size-3.5" />
    </button>
  );
}
