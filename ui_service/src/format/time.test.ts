import { expect, test } from "vitest";

import { countdown, fromNow, momentOf } from "./time";

const NOW = Date.parse("2026-11-21T10:00:00Z");

test.each([
  [NOW, "now"],
  [NOW - 12_000, "12 s ago"],
  [NOW - 4 * 60_000, "4 min ago"],
  [NOW + 3 * 3_600_000, "in 3 h"],
  [NOW - 86_400_000, "1 day ago"],
  [NOW - 3 * 86_400_000, "3 days ago"],
  [null, "–"],
])("%s is %s", (at, said) => {
  expect(fromNow(at, NOW)).toBe(said);
});

test.each([
  [NOW + 299_001, "5:00"],
  [NOW + 3_661_000, "1:01:01"],
  [NOW + 5_000, "0:05"],
  [NOW - 5_000, "0:00"],
])("until %s it counts %s", (until, said) => {
  expect(countdown(until, NOW)).toBe(said);
});

test.each([null, undefined, "", "tomorrow"])("%s is no moment", (text) => {
  expect(momentOf(text)).toBeNull();
});
