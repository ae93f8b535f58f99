import type { Break } from "../fns/epochs";
import { duration } from "../fns/format";
import { barOf, type Extent, type Viewport } from "../fns/geometry";

/** The times in which nobody drove the run, over the whole height of the timeline. */
export function Breaks({ breaks, extent, view, nowMs }: { breaks: readonly Break[]; extent: Extent; view: Viewport; nowMs: number }) {
  return (
    <div aria-hidden className="pointer-events-none absolute inset-0 grid grid-cols-(--timeline-columns)">
      <span />
      <div className="relative overflow-hidden">
        {breaks.map((each) => {
          const bar = barOf(each.fromMs, each.toMs ?? Math.max(nowMs, extent.endMs), extent, view);
          if (!bar.isVisible) return null;
          return (
            <div
              key={each.fromMs}
              data-break={each.cause}
              className="absolute inset-y-0 min-w-px border-x border-dashed"
              style={{
                left: `${bar.left}%`,
                width: `${bar.width}%`,
                borderColor: each.cause === "lost" ? "var(--bad)" : "var(--line-strong)",
                background: `repeating-linear-gradient(135deg, transparent 0 6px, var(--${each.cause === "lost" ? "bad" : "warn"}-soft) 6px 8px)`,
              }}
            />
          );
        })}
      </div>
    </div>
  );
}

/** The same in words. */
export function breakSaying(each: Break): string {
  if (each.toMs === null) return "The agent died; nobody has driven the run since.";
  const length = duration(each.toMs - each.fromMs);
  return each.cause === "lost" ? `The agent died; nobody drove the run for ${length}.` : `Stopped for ${length}; went on after: ${each.cause}.`;
}
