import { ceilingOf, linePath, type Point } from "./fns/sparkline";

const BOX = { width: 120, height: 28 };

export interface SparklineProps {
  label: string;
  value: string;
  points: readonly Point[];
  /** The axis reaches at least so far, so that noise near zero looks like noise. */
  least: number;
}

/** A figure, and how it was over the last minutes. */
export function Sparkline({ label, value, points, least }: SparklineProps) {
  const path = linePath(points, BOX, ceilingOf(points, least));
  return (
    <div className="min-w-0">
      <div className="flex justify-between gap-x-2 text-xs max-sm:flex-col sm:items-baseline">
        <span className="whitespace-nowrap text-muted">{label}</span>
        <span className="font-medium whitespace-nowrap tabular-nums">{value}</span>
      </div>
      <svg aria-hidden viewBox={`0 0 ${BOX.width} ${BOX.height}`} preserveAspectRatio="none" className="mt-1 h-7 w-full">
        {path && <path d={`${path}L${BOX.width} ${BOX.height}L0 ${BOX.height}Z`} className="fill-accent-soft" />}
        {path && <path d={path} fill="none" className="stroke-accent" strokeWidth="1.25" vectorEffect="non-scaling-stroke" />}
        <path d={`M0 ${BOX.height - 0.5}H${BOX.width}`} className="stroke-line" vectorEffect="non-scaling-stroke" />
      </svg>
    </div>
  );
}
