/** The line of a sparkline. Pure; finite for no point, one point, equal times and equal values. */

export interface Point {
  at: number;
  value: number;
}

export interface Box {
  width: number;
  height: number;
}

/** As far as the value axis reaches: the highest value, or `least` when all are below it. */
export function ceilingOf(points: readonly Point[], least: number): number {
  return points.reduce((highest, { value }) => Math.max(highest, value), Math.max(least, Number.EPSILON));
}

/** An SVG path from the left edge to the right one; a single point is a level line; empty for none. */
export function linePath(points: readonly Point[], box: Box, ceiling: number): string {
  const first = points[0];
  const last = points.at(-1);
  if (!first || !last) return "";
  const span = last.at - first.at;
  const x = (at: number) => (span > 0 ? ((at - first.at) / span) * box.width : box.width);
  const y = (value: number) => box.height - (clamp(value / ceiling) * (box.height - 2) + 1);
  const steps = points.map(({ at, value }, index) => `${index ? "L" : "M"}${round(x(at))} ${round(y(value))}`);
  return span > 0 ? steps.join("") : `M0 ${round(y(last.value))}L${box.width} ${round(y(last.value))}`;
}

function clamp(share: number): number {
  return Number.isFinite(share) ? Math.min(1, Math.max(0, share)) : 0;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
