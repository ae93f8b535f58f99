import { expect, test } from "vitest";

import { NO_FEED, type RunFeed, takeRefusal, takeRunEvent } from "./runEvents";

function raw(event: string, data: unknown) {
  return { event, id: "1", data: typeof data === "string" ? data : JSON.stringify(data) };
}
const hop = (sequence: number) => raw("hop_started", { sequence, type: "hop_started", payload: {} });

function fed(...sequences: number[]): RunFeed {
  return sequences.reduce((feed, sequence) => takeRunEvent(feed, hop(sequence))[0], NO_FEED);
}

test("events come in order and each once", () => {
  expect(fed(1, 2, 2, 1, 3).events.map((event) => event.sequence)).toEqual([1, 2, 3]);
});

test("a reset makes all that is here void and asks for it again", () => {
  const [feed, verdict] = takeRunEvent(fed(1, 2), raw("reset", { after: "2", until: "1", cause: "another_life", missed: null }));
  expect([feed.events.length, feed.hasBegun, verdict]).toEqual([0, true, "restart"]);
});

test.each([
  ["finished", "over"],
  ["gone", "over"],
  ["shutting_down", "again"],
  ["interrupted", "again"],
])("an end that is %s leaves the stream %s", (reason, expected) => {
  const [feed, verdict] = takeRunEvent(fed(1), raw("end", { reason, error: null }));
  expect(verdict).toBe(expected);
  expect(feed.end?.reason).toBe(expected === "over" ? reason : undefined);
});

test.each([
  ["no JSON", raw("hop_started", "{")],
  ["no object", raw("hop_started", "7")],
  ["no sequence", raw("hop_started", { type: "hop_started" })],
  ["no type", raw("hop_started", { sequence: 9 })],
])("what has %s is passed over and counted", (_, event) => {
  expect(takeRunEvent(fed(1), event)).toEqual([fed(1), "unknown"]);
});

test("an event of a newer agent is kept and counted", () => {
  const [feed, verdict] = takeRunEvent(fed(1), raw("unknown", { sequence: 2, type: "unknown", payload: {} }));
  expect([feed.events.length, verdict]).toEqual([2, "unknown"]);
});

test("a run that does not exist is final, a control plane that is away is not", () => {
  const body = JSON.stringify({ reason: "NOT_FOUND", message: "There is no run x." });
  expect(takeRefusal(NO_FEED, 404, body)[1]).toBe(true);
  expect(takeRefusal(NO_FEED, 404, body)[0].failure?.message).toBe("There is no run x.");
  expect(takeRefusal(NO_FEED, 503, "")).toEqual([NO_FEED, false]);
  expect(takeRefusal(NO_FEED, 429, "")[1]).toBe(false);
});
