import { ChevronDown, ChevronRight, Mail, RotateCcw } from "lucide-react";
import { type CSSProperties, memo } from "react";

import { cn } from "@/components/cn";

import type { Section } from "../fns/criticalPath";
import type { Epoch } from "../fns/epochs";
import { duration } from "../fns/format";
import { barOf, durationOf, endOf, type Extent, isRunning, type Viewport } from "../fns/geometry";
import { serviceColour } from "../fns/serviceColour";
import type { TreeRow } from "../fns/spanTree";

export const ROW_PX = 28;
const MAX_INDENT = 12;

export interface SpanRowProps {
  id: string;
  row: TreeRow;
  /** From 1, among all rows. */
  number: number;
  top: number;
  extent: Extent;
  view: Viewport;
  nowMs: number;
  sections: readonly Section[];
  epoch: Epoch | undefined;
  messageCount: number;
  isActive: boolean;
  isMatch: boolean;
  isFolded: boolean;
  onOpen: (key: string) => void;
  onFold: (key: string) => void;
}

/** One span: what it is, and when it was. It only draws, and only when something of it changed. */
export const SpanRow = memo(function SpanRow(props: SpanRowProps) {
  const { id, row, number, top, isActive, isMatch, isFolded, onOpen } = props;
  return (
    <div
      id={id}
      role="row"
      aria-level={row.depth + 1}
      aria-rowindex={number}
      aria-selected={isActive}
      aria-expanded={row.childCount ? !isFolded : undefined}
      data-span={row.span.name}
      data-span-id={row.span.span_id}
      data-state={row.span.state}
      onClick={() => onOpen(row.key)}
      style={{ transform: `translateY(${top}px)`, height: ROW_PX }}
      className={cn(
        "absolute inset-x-0 top-0 grid cursor-pointer grid-cols-(--timeline-columns) items-center text-sm",
        isActive ? "bg-accent-soft" : "hover:bg-hover",
        isMatch && "shadow-[inset_2px_0_0_var(--warn)]",
      )}
    >
      <NameCell {...props} />
      <BarCell {...props} />
    </div>
  );
});

function NameCell({ row, isFolded, isMatch, epoch, messageCount, onFold }: SpanRowProps) {
  const Chevron = isFolded ? ChevronRight : ChevronDown;
  return (
    <div
      role="gridcell"
      className="flex min-w-0 items-center gap-1.5 pr-2"
      style={{ paddingLeft: `calc(0.5rem + ${Math.min(row.depth, MAX_INDENT)} * var(--timeline-indent))` }}
    >
      {row.childCount ? (
        <button
          type="button"
          tabIndex={-1}
          aria-label={isFolded ? `Unfold ${row.span.name}` : `Fold ${row.span.name}`}
          onClick={(event) => {
            event.stopPropagation();
            onFold(row.key);
          }}
          className="-ml-1 grid size-5 shrink-0 place-items-center rounded text-muted hover:bg-line hover:text-text"
        >
          <Chevron aria-hidden className="size-3.5" />
        </button>
      ) : (
        <span aria-hidden className="w-4 shrink-0" />
      )}
      <span aria-hidden className="size-2 shrink-0 rounded-full" style={{ background: serviceColour(row.span.service) }} />
      <span className={cn("min-w-0 truncate", isMatch && "font-medium", row.span.state === "error" && "text-bad")} title={row.span.name}>
        {shortName(row.span.name)}
      </span>
      {subject(row) && <span className="hidden min-w-0 shrink-[1000] truncate text-muted sm:block">{subject(row)}</span>}
      {epoch && <EpochMark epoch={epoch} />}
      {messageCount > 0 && <Mail aria-label={`${messageCount} messages sent`} className="size-3.5 shrink-0 text-accent" />}
      {row.isOrphan && (
        <span className="shrink-0 text-2xs text-muted" title="The span that this one belongs to is not here.">
          no parent
        </span>
      )}
    </div>
  );
}

function EpochMark({ epoch }: { epoch: Epoch }) {
  if (epoch.isLost) return <span className="shrink-0 rounded bg-bad-soft px-1 text-2xs font-medium text-bad">lost</span>;
  if (!epoch.cause) return null;
  return (
    <span className="inline-flex shrink-0 items-center gap-1 rounded bg-accent-soft px-1 text-2xs font-medium text-accent">
      <RotateCcw aria-hidden className="size-3" />
      resumed
    </span>
  );
}

function BarCell({ row, extent, view, nowMs, sections }: SpanRowProps) {
  const { span } = row;
  const end = endOf(span, nowMs);
  const bar = barOf(span.start_unix_ms, end, extent, view);
  const isLive = isRunning(span);
  return (
    <div role="gridcell" aria-label={saying(row, nowMs)} className="relative h-full min-w-0 overflow-hidden">
      {bar.isVisible && (
        <>
          <div
            className={cn(
              "absolute top-2 h-3 min-w-[3px] rounded-[3px]",
              isLive && "transition-[width] duration-100 ease-linear motion-reduce:transition-none",
              span.state === "lost" && "border border-dashed border-bad",
            )}
            style={barStyle(row, bar.left, bar.width)}
          >
            {isLive && <span aria-hidden className="absolute inset-y-0 right-0 w-1 animate-pulse-slow rounded-[3px] bg-text" />}
          </div>
          {sections.map((section) => (
            <PathSection key={section.fromMs} section={section} extent={extent} view={view} nowMs={nowMs} />
          ))}
          <span
            aria-hidden
            className="pointer-events-none absolute top-1 text-xs tabular-nums whitespace-nowrap text-muted"
            style={labelStyle(bar.left, bar.width)}
          >
            <span className="rounded bg-surface/80 px-1">{duration(durationOf(span, nowMs))}</span>
          </span>
        </>
      )}
    </div>
  );
}

function PathSection({ section, extent, view, nowMs }: { section: Section; extent: Extent; view: Viewport; nowMs: number }) {
  const bar = barOf(section.fromMs, Math.min(section.toMs, nowMs), extent, view);
  if (!bar.isVisible || bar.width === 0) return null;
  return <div className="absolute top-5.5 h-0.5 bg-text" style={{ left: `${bar.left}%`, width: `${bar.width}%` }} />;
}

function barStyle({ span }: TreeRow, left: number, width: number): CSSProperties {
  const place = { left: `min(${left}%, calc(100% - 3px))`, width: `${width}%` };
  if (span.state === "error") return { ...place, background: "var(--bad)" };
  if (span.state === "lost") {
    return { ...place, background: "repeating-linear-gradient(135deg, var(--bad-soft) 0 4px, var(--line-strong) 4px 6px)" };
  }
  return { ...place, background: serviceColour(span.service) };
}

/** Beside the bar where there is room: after it, before it, or on its end. */
function labelStyle(left: number, width: number): CSSProperties {
  if (left + width < 80) return { left: `calc(${left + width}% + 4px)` };
  if (left > 20) return { right: `calc(${100 - left}% + 4px)` };
  return { right: 4 };
}

/** gRPC's names are long; what they end in tells. */
function shortName(name: string): string {
  return /^\/[\w.]+\.(\w+\/\w+)$/.exec(name)?.[1] ?? name;
}

/** Whom or what the span is about. */
function subject({ span }: TreeRow): string {
  const { attributes } = span;
  const found = attributes["capability.name"] ?? attributes["gen_ai.tool.name"] ?? attributes["decision.capability"];
  const text = String(found ?? attributes["gen_ai.request.model"] ?? "");
  return text === "none" ? "" : text; // a decision that calls nobody
}

function saying({ span }: TreeRow, nowMs: number): string {
  const state = { running: "running for", ok: "took", error: "failed after", lost: "lost after" }[span.state];
  return `${span.service}, ${state} ${duration(durationOf(span, nowMs))}`;
}
