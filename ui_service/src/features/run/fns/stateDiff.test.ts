import { expect, it } from "vitest";

import { diffOf, MAX_CHANGES } from "./stateDiff";

it("finds what was added, removed and changed, by path", () => {
  const before = { a: 1, gone: true, hops: [{ outcome: "answered" }] };
  const after = { a: 2, hops: [{ outcome: "degraded" }, { outcome: "answered" }], new: null };
  expect(diffOf(before, after).changes).toEqual([
    { path: "a", kind: "changed", before: 1, after: 2 },
    { path: "gone", kind: "removed", before: true, after: undefined },
    { path: "hops[0].outcome", kind: "changed", before: "answered", after: "degraded" },
    { path: "hops[1]", kind: "added", before: undefined, after: { outcome: "answered" } },
    { path: "new", kind: "added", before: undefined, after: null },
  ]);
});

it.each([
  [{}, {}],
  [{ a: [1, { b: 2 }] }, { a: [1, { b: 2 }] }],
  [null, null],
])("finds nothing between equals: %j", (before, after) => {
  expect(diffOf(before, after)).toEqual({ changes: [], isCut: false });
});

it("tells an object from a list and from nothing", () => {
  expect(diffOf({ a: [] }, { a: {} }).changes).toHaveLength(1);
  expect(diffOf({ a: null }, { a: {} }).changes).toHaveLength(1);
  expect(diffOf(undefined, { a: 1 }).changes).toHaveLength(1);
});

it("is not led astray by names of the language", () => {
  const odd = JSON.parse('{"__proto__": 1, "constructor": 2}') as object;
  expect(diffOf({}, odd).changes.map((change) => change.path).sort()).toEqual(["__proto__", "constructor"]);
});

it("is bounded in number and depth", () => {
  const many = Object.fromEntries(Array.from({ length: 2_000 }, (_, index) => [`k${index}`, index]));
  expect(diffOf({}, many)).toMatchObject({ isCut: true, changes: { length: MAX_CHANGES } });
  const deep = (leaf: number) => Array.from({ length: 500 }).reduce<object>((inner) => ({ inner }), { leaf });
  expect(diffOf(deep(1), deep(2)).changes).toHaveLength(1);
});
