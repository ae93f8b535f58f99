import { expect, it } from "vitest";

import { criticalPath, timeOnPath } from "./criticalPath";
import { shuffled, span, timed } from "./made";
import { spanKey } from "./spanSet";
import { buildTree } from "./spanTree";
import type { SpanView } from "../types";

function pathOf(spans: SpanView[], nowMs = 1_000): Record<string, [number, number][]> {
  const path = criticalPath(buildTree(shuffled(spans)), nowMs);
  const named = spans.map((each) => [each.span_id, path.get(spanKey(each))] as const);
  return Object.fromEntries(
    named.filter(([, found]) => found).map(([id, found]) => [id, found!.map((each) => [each.fromMs, each.toMs])]),
  );
}

it("is the span itself when nothing is below it", () => {
  expect(pathOf([timed("a", "", 0, 10)])).toEqual({ a: [[0, 10]] });
});

it("goes through what ended last, then through what had ended by its start", () => {
  const spans = [timed("a", "", 0, 100), timed("b", "a", 10, 40), timed("c", "a", 20, 50), timed("d", "a", 60, 90)];
  expect(pathOf(spans)).toEqual({ a: [[90, 100], [50, 60], [0, 20]], c: [[20, 50]], d: [[60, 90]] });
});

it("leaves out what ran beside it", () => {
  expect(pathOf([timed("a", "", 0, 100), timed("slow", "a", 0, 100), timed("fast", "a", 0, 50)])).toEqual({
    slow: [[0, 100]],
  });
});

it("follows a run beyond the end of the call that started it", () => {
  expect(pathOf([timed("start", "", 0, 2), timed("run", "start", 1, 50)])).toEqual({ start: [[0, 1]], run: [[1, 50]] });
});

it("follows two epochs one after the other; nobody has the break between them", () => {
  expect(pathOf([timed("one", "", 0, 10, { state: "lost" }), timed("two", "", 30, 50)])).toEqual({
    one: [[0, 10]],
    two: [[30, 50]],
  });
});

it("goes to now while something runs", () => {
  expect(pathOf([timed("a", "", 0, null), timed("b", "a", 10, null)], 200)).toEqual({ a: [[0, 10]], b: [[10, 200]] });
});

it.each<[string, SpanView[]]>([
  ["no spans", []],
  ["a child before its parent", [timed("a", "", 50, 60), timed("b", "a", 10, 20)]],
  ["a child over both ends", [timed("a", "", 50, 60), timed("b", "a", 10, 90)]],
  ["no length", [timed("a", "", 50, 50), timed("b", "a", 50, 50)]],
  ["an end before the start", [timed("a", "", 50, 40), timed("b", "a", 60, 10)]],
  ["a circle", [timed("a", "b", 0, 10), timed("b", "a", 2, 8)]],
  ["lost without an end", [span("a", { state: "lost", end_unix_ms: null })]],
  ["a start after now", [timed("a", "", 5_000, null)]],
])("is finite, inside its span and free of overlaps: %s", (_, spans) => {
  const path = criticalPath(buildTree(spans), 1_000);
  const all = [...path.values()].flat().sort((a, b) => a.fromMs - b.fromMs);
  for (const section of all) expect(section.toMs).toBeGreaterThan(section.fromMs);
  all.slice(1).forEach((section, index) => expect(section.fromMs).toBeGreaterThanOrEqual(all[index]!.toMs));
});

it("sums up what a span has of it", () => {
  const sections = [{ fromMs: 0, toMs: 2 }, { fromMs: 5, toMs: 8 }];
  expect(timeOnPath(sections, 100)).toBe(5);
  expect(timeOnPath(sections, 6)).toBe(3);
  expect(timeOnPath([], 100)).toBe(0);
});

it.each([
  ["one chain", (index: number) => (index ? `s${index - 1}` : "")],
  ["all below one", (index: number) => (index ? "s0" : "")],
])("has 10,000 spans in bounded time: %s", (_, parentOf) => {
  const spans = Array.from({ length: 10_000 }, (_, index) => timed(`s${index}`, parentOf(index), index, 20_000 - index));
  expect(criticalPath(buildTree(spans), 0).size).toBeGreaterThan(0);
}, 30_000);
