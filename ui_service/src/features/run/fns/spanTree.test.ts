import { describe, expect, it } from "vitest";

import { span, shuffled, timed } from "./made";
import { addSpans, belongsTo, spanKey } from "./spanSet";
import { buildTree } from "./spanTree";

const ids = (tree: ReturnType<typeof buildTree>) => tree.rows.map((row) => `${"-".repeat(row.depth)}${row.span.span_id}`);

describe("the tree", () => {
  it("puts parents before children and siblings by start, however they come", () => {
    const spans = [timed("a", "", 0, 9), timed("b", "a", 1, 2), timed("c", "a", 3, 8), timed("d", "c", 4, 5)];
    expect(ids(buildTree(shuffled(spans)))).toEqual(["a", "-b", "-c", "--d"]);
  });

  it("is empty without spans", () => {
    expect(buildTree([]).rows).toEqual([]);
  });

  it("shows a span whose parent is not there at the root, and says so", () => {
    const [row] = buildTree([timed("a", "gone", 0, 9)]).rows;
    expect(row).toMatchObject({ depth: 0, isOrphan: true });
    expect(buildTree([timed("a", "", 0, 9)]).rows[0]!.isOrphan).toBe(false);
  });

  it("takes an orphan to its parent once that has come", () => {
    const child = timed("b", "a", 1, 2);
    expect(ids(buildTree([child]))).toEqual(["b"]);
    expect(ids(buildTree([child, timed("a", "", 0, 9)]))).toEqual(["a", "-b"]);
  });

  it("shows each span of a circle once", () => {
    const circle = [timed("a", "c", 0, 1), timed("b", "a", 1, 2), timed("c", "b", 2, 3), timed("own", "own", 5, 6)];
    expect(ids(buildTree(circle))).toEqual(["a", "-b", "--c", "own"]);
  });

  it("keeps a child that began before its parent below it", () => {
    expect(ids(buildTree([timed("a", "", 10, 20), timed("b", "a", 5, 15)]))).toEqual(["a", "-b"]);
  });

  it("does not mix up equal span ids of two traces", () => {
    const other = timed("a", "", 1, 2, { trace_id: "other" });
    const child = timed("b", "a", 1, 2, { trace_id: "other" });
    const tree = buildTree([timed("a", "", 0, 9), other, child]);
    expect(tree.byKey.get(spanKey(child))!.parentKey).toBe(spanKey(other));
  });

  it("knows the latest end below a span, and that something still runs there", () => {
    const tree = buildTree([timed("a", "", 0, 5), timed("b", "a", 1, 30), timed("c", "", 0, 5), timed("d", "c", 1, null)]);
    expect(tree.rows.map((row) => row.subtreeEndMs)).toEqual([30, 30, null, null]);
  });

  it.each([
    ["one chain", (index: number) => (index ? `s${index - 1}` : "")],
    ["all below one", (index: number) => (index ? "s0" : "")],
    ["all without their parents", () => "gone"],
    ["one circle", (index: number) => `s${(index + 9_999) % 10_000}`],
  ])("has 10,000 spans in bounded time: %s", (_, parentOf) => {
    const spans = Array.from({ length: 10_000 }, (_, index) => timed(`s${index}`, parentOf(index), index, index + 1));
    expect(buildTree(shuffled(spans)).rows).toHaveLength(10_000);
  }, 30_000);
});

describe("the set", () => {
  const started = timed("a", "", 0, null);
  const ended = timed("a", "", 0, 7);
  const lost = timed("a", "", 0, 5, { state: "lost" });

  it("is the same set when nothing is new", () => {
    const set = addSpans(new Map(), [started]);
    expect(addSpans(set, [started, { ...started }])).toBe(set);
  });

  it("comes to the same whatever the order", () => {
    for (const order of [[started, lost, ended], [ended, lost, started], [lost, ended, started], [ended, started, lost]]) {
      expect([...addSpans(new Map(), order).values()]).toEqual([ended]);
    }
  });

  it("does not let a late start bring a lost span back to life", () => {
    expect([...addSpans(addSpans(new Map(), [lost]), [started]).values()]).toEqual([lost]);
  });

  it("has the spans of the run, and of its trace those that are of no other run", () => {
    const traces = new Set([started.trace_id]);
    expect(belongsTo(started, "run-1", traces)).toBe(true);
    expect(belongsTo(span("b", { run_id: "run-2" }), "run-1", traces)).toBe(false);
    expect(belongsTo(span("b", { run_id: null }), "run-1", traces)).toBe(true);
    expect(belongsTo(span("b", { run_id: null, trace_id: "x" }), "run-1", traces)).toBe(false);
  });
});
