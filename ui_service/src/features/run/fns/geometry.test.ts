import { describe, expect, it } from "vitest";

import { barOf, durationOf, endOf, extentOf, MIN_LENGTH_MS, panned, ticksOf, wholeOf, zoomed } from "./geometry";
import { span, timed } from "./made";

const NOW = 5_000;

describe("the extent", () => {
  it("goes from the first start to the last end", () => {
    expect(extentOf([timed("a", "", 10, 30), timed("b", "a", 5, 20)], NOW)).toEqual({ startMs: 5, endMs: 30 });
  });

  it("goes to now while something runs, and only then", () => {
    expect(extentOf([timed("a", "", 10, null)], NOW).endMs).toBe(NOW);
    expect(extentOf([timed("a", "", 10, 30)], NOW).endMs).toBe(30);
  });

  it.each([
    ["no spans", []],
    ["no length", [timed("a", "", 10, 10)]],
    ["an end before the start", [timed("a", "", 10, 3)]],
    ["lost without an end", [span("a", { state: "lost", start_unix_ms: 10, end_unix_ms: null })]],
    ["starts after now", [timed("a", "", NOW + 50, null)]],
    ["no number for a start", [timed("a", "", Number.NaN, 5)]],
  ])("has a length to divide by: %s", (_, spans) => {
    const extent = extentOf(spans, NOW);
    expect(extent.endMs - extent.startMs).toBeGreaterThan(0);
    expect(Number.isFinite(extent.startMs) && Number.isFinite(extent.endMs)).toBe(true);
  });
});

describe("the end of a span", () => {
  it("is now while it runs, and its own otherwise", () => {
    expect(endOf(timed("a", "", 10, null), NOW)).toBe(NOW);
    expect(durationOf(timed("a", "", 10, 30), NOW)).toBe(20);
    expect(durationOf(span("a", { state: "lost", end_unix_ms: null }), NOW)).toBe(0);
    expect(durationOf(timed("a", "", 10, 3), NOW)).toBe(0);
  });
});

describe("a bar", () => {
  const extent = { startMs: 1_000, endMs: 2_000 };

  it("is where its time is", () => {
    expect(barOf(1_250, 1_750, extent, wholeOf(extent))).toEqual({ left: 25, width: 50, isVisible: true });
    expect(barOf(1_250, 1_750, extent, { fromMs: 250, toMs: 500 })).toEqual({ left: 0, width: 100, isVisible: true });
  });

  it("is not visible outside the viewport", () => {
    expect(barOf(1_000, 1_100, extent, { fromMs: 500, toMs: 600 }).isVisible).toBe(false);
    expect(barOf(1_700, 1_800, extent, { fromMs: 500, toMs: 600 }).isVisible).toBe(false);
  });

  const odd = [0, 999, 1_000, 1_500, 2_000, 1e15, -1e15, Infinity, -Infinity, Number.NaN];
  const views = [wholeOf(extent), { fromMs: 0, toMs: 0 }, { fromMs: 5, toMs: 5 + MIN_LENGTH_MS }, { fromMs: 9, toMs: 3 }];
  it("is finite and inside whatever the times are", () => {
    for (const start of odd) {
      for (const end of odd) {
        for (const view of views) {
          const { left, width } = barOf(start, end, extent, view);
          expect(left).toBeGreaterThanOrEqual(0);
          expect(width).toBeGreaterThanOrEqual(0);
          expect(left + width).toBeLessThanOrEqual(100.000001);
        }
      }
    }
  });
});

describe("the viewport", () => {
  const whole = { fromMs: 0, toMs: 1_000 };

  it("zooms around a place that stays where it is", () => {
    expect(zoomed(whole, 0.5, 0.5, 1_000)).toEqual({ fromMs: 250, toMs: 750 });
    expect(zoomed(whole, 0.5, 0, 1_000)).toEqual({ fromMs: 0, toMs: 500 });
    expect(zoomed({ fromMs: 250, toMs: 750 }, 4, 0.5, 1_000)).toEqual(whole);
  });

  it("stays inside and never gets empty, however far one zooms and moves", () => {
    let view = whole;
    for (let step = 0; step < 200; step++) view = zoomed(view, 0.5, 0.9, 1_000);
    expect(view.toMs - view.fromMs).toBeGreaterThan(0);
    for (let step = 0; step < 200; step++) view = panned(view, 5, 1_000);
    expect(view.toMs).toBeLessThanOrEqual(1_000.0001);
    expect(zoomed({ fromMs: 0, toMs: 0.001 }, 0.5, 0.5, 0.001)).toEqual({ fromMs: 0, toMs: 0.001 });
  });

  it("has round ticks, not more than asked for", () => {
    expect(ticksOf(whole, 5)).toEqual([0, 200, 400, 600, 800, 1_000]);
    expect(ticksOf({ fromMs: 0, toMs: 0 }, 5).length).toBeLessThanOrEqual(6);
    expect(ticksOf({ fromMs: 1e12, toMs: 1e12 + 0.05 }, 5).every(Number.isFinite)).toBe(true);
  });
});
