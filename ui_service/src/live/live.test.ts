import { expect, test, vi } from "vitest";

import { backoffMs, FIRST_MS, LONGEST_MS } from "./backoff";
import { Store } from "./connection";
import { readControlEvent } from "./controlEvents";

test("the wait doubles, is spread, and has an end", () => {
  expect([1, 2, 3].map((failures) => backoffMs(failures, 1))).toEqual([FIRST_MS, 2 * FIRST_MS, 4 * FIRST_MS]);
  expect(backoffMs(3, 0)).toBe(2 * FIRST_MS);
  expect(backoffMs(1_000, 1)).toBe(LONGEST_MS);
  expect(backoffMs(0, 0)).toBeGreaterThan(0);
});

test("a store tells of changes only, until nobody listens", () => {
  const store = new Store(1);
  const listener = vi.fn();
  const leave = store.subscribe(listener);
  store.set(1);
  store.set(2);
  leave();
  store.set(3);
  expect(listener).toHaveBeenCalledOnce();
});

test.each(["novelty", "toString", "__proto__"])("an event named %s is not known", (event) => {
  expect(readControlEvent({ event, id: "1", data: "{}" })).toBeNull();
});

test("a payload that is no object is not known either", () => {
  expect(readControlEvent({ event: "ready", id: "1", data: "null" })).toBeNull();
  expect(readControlEvent({ event: "ready", id: "1", data: "{" })).toBeNull();
  expect(readControlEvent({ event: "ready", id: "1", data: '{"cursor":"1"}' })).toEqual({ event: "ready", id: "1", data: { cursor: "1" } });
});
