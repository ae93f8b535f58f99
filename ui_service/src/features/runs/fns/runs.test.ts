import { expect, test } from "vitest";

import type { RunView } from "@/api/schema";

import { addressWith, isNarrowed, MAX_TEXT, readFilters } from "./filters";
import { runsOf, tookMs, withRun } from "./runPages";

const run = (run_id: string, more: Partial<RunView> = {}) => ({ run_id, ...more }) as RunView;
const page = (...runs: RunView[]) => ({ runs, next_page_token: "", cursor: "1" });

test("filters are read from an address, and what it does not know is left out", () => {
  const filters = readFilters(new URLSearchParams(`state=active&workflow=auto&text=${"x".repeat(500)}&other=1`));
  expect(filters).toMatchObject({ choice: "active", states: ["pending", "running"], workflow: "auto", service: "" });
  expect(filters.text).toHaveLength(MAX_TEXT);
  expect(readFilters(new URLSearchParams("state=constructor"))).toMatchObject({ choice: "", states: [] });
});

test("an address changes in one filter and keeps the others", () => {
  const query = new URLSearchParams("state=lost&text=a b");
  expect(addressWith(query, "state", "failed")).toBe("/runs?state=failed&text=a+b");
  expect(addressWith(query, "text", "")).toBe("/runs?state=lost");
  expect(addressWith(new URLSearchParams("text=x"), "text", "")).toBe("/runs");
});

test("a list is narrowed by any filter", () => {
  expect(isNarrowed(readFilters(new URLSearchParams()))).toBe(false);
  expect(isNarrowed(readFilters(new URLSearchParams("service=rag")))).toBe(true);
});

test("what is told of a run takes its place, on whichever page it is", () => {
  const pages = { pages: [page(run("a")), page(run("b"))], pageParams: ["", "t"] };
  const told = withRun(pages, run("b", { state: "lost" }));
  expect(runsOf(told).map(({ run_id, state }) => [run_id, state])).toEqual([["a", undefined], ["b", "lost"]]);
  expect(withRun(pages, run("c"))).toBe(pages);
});

test("a run that two pages have is shown once", () => {
  expect(runsOf({ pages: [page(run("a"), run("b")), page(run("b"), run("c"))], pageParams: [] })).toHaveLength(3);
  expect(runsOf(undefined)).toEqual([]);
});

test.each([
  ["2026-11-21T10:00:00Z", "2026-11-21T10:00:02Z", 2_000],
  ["2026-11-21T10:00:00Z", null, 5_000],
  ["2026-11-21T10:00:00Z", "2026-11-21T09:00:00Z", 0],
  [null, null, null],
])("from %s to %s it took %s ms", (create_time, end_time, took) => {
  expect(tookMs(run("a", { create_time, end_time }), Date.parse("2026-11-21T10:00:05Z"))).toBe(took);
});
