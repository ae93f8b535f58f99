import { expect, it } from "vitest";

import { breaksOf, epochsOf } from "./epochs";
import { RUN_ID, shuffled, span, timed } from "./made";

function epoch(number: number, start: number, end: number | null, state?: "lost", cause = "") {
  const attributes = { "run.epoch": number, ...(cause && { "run.resume_cause": cause }) };
  return timed(`e${number}`, "root", start, end, { name: "agent.run", attributes, ...(state && { state }) });
}

it("shows a run that was lost and taken up again, with the break between", () => {
  const spans = [epoch(4_294_967_297, 0, 100, "lost"), epoch(4_294_967_298, 350, null, undefined, "crash"), span("other")];
  const epochs = epochsOf(shuffled(spans), RUN_ID);
  expect(epochs.map(({ ordinal, cause, isLost }) => [ordinal, cause, isLost])).toEqual([
    [1, "", true],
    [2, "crash", false],
  ]);
  expect(breaksOf(epochs)).toEqual([{ fromMs: 100, toMs: 350, cause: "lost" }]);
});

it("leaves the break open while nobody has taken the run up", () => {
  expect(breaksOf(epochsOf([epoch(1, 0, 100, "lost")], RUN_ID))).toEqual([{ fromMs: 100, toMs: null, cause: "lost" }]);
});

it("has a break for a pause, and none after an end", () => {
  const spans = [epoch(1, 0, 100), epoch(2, 900, 950, undefined, "pause")];
  expect(breaksOf(epochsOf(spans, RUN_ID))).toEqual([{ fromMs: 100, toMs: 900, cause: "pause" }]);
});

it("has no break where the clocks disagree, and none in another run's spans", () => {
  expect(breaksOf(epochsOf([epoch(1, 0, 100, "lost"), epoch(2, 90, null)], RUN_ID))).toEqual([]);
  expect(epochsOf([epoch(1, 0, 100)], "run-2")).toEqual([]);
});

it("puts epochs without a number by time", () => {
  const odd = { name: "agent.run", attributes: { "run.epoch": "<b>" } };
  expect(epochsOf([timed("b", "", 5, 6, odd), timed("a", "", 1, 2, odd)], RUN_ID).map((each) => each.span.span_id)).toEqual(["a", "b"]);
});
