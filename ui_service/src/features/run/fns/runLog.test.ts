import { describe, expect, it } from "vitest";

import { agreementOf, agrees, confidenceIn } from "./agreement";
import { event, NO_USAGE, run, shuffled } from "./made";
import { addEvents, EMPTY_LOG } from "./runLog";
import { controlsOf, loopStatus, newerRun, runNow } from "./runNow";
import type { RunEventView } from "../types";

const recommended = (sequence: number, top: string) =>
  event(sequence, "route_recommended", {
    recommendation: {
      top,
      router: "embedding",
      latency_ms: 4,
      candidates: [
        { service: "rag", confidence: 0.8, matched_tags: [], nearest_examples: [] },
        { service: "coding", confidence: 0.1, matched_tags: [], nearest_examples: [] },
      ],
    },
  });
const decided = (sequence: number, capability: string, action: "call" | "answer" = "call") =>
  event(sequence, "decision_made", {
    decision: {
      action,
      capability,
      role: "",
      task: "",
      reason: "",
      source: "model",
      remaining_hops: 2,
      is_override: false,
      latency_ms: 1,
    },
  });
const started = (sequence: number, hop_index = 0) =>
  event(sequence, "hop_started", { hop_index, capability: "rag", role: "rag", task: "look", address: "a", idempotency_key: "k" });
const ended = (sequence: number, hop_index = 0) =>
  event(sequence, "hop_ended", {
    hop_index,
    capability: "rag",
    role: "rag",
    error: null,
    outcome: "answered",
    duration_ms: 12,
    usage: NO_USAGE,
    is_replayed: false,
  });
const wrote = (sequence: number, text: string, attempt = 1, hop_index = -1) =>
  event(sequence, "text_produced", { text, step: "respond", hop_index, attempt, is_answer: hop_index < 0 });

const STORY: RunEventView[] = [
  event(1, "state_changed", { run: run() }),
  recommended(2, "rag"),
  decided(3, "rag"),
  started(4),
  event(5, "tool_called", { hop_index: 0, tool_call_id: "c1", name: "search", arguments: { q: "x" } }),
  event(6, "tool_returned", { hop_index: 0, tool_call_id: "c1", name: "search", content: "found", is_error: false }),
  wrote(7, "half ", 1, 0),
  ended(8),
  decided(9, "coding"),
  decided(10, "", "answer"),
  wrote(11, "The "),
  wrote(12, "ans"),
  event(13, "run_resumed", { epoch: 2, attempt: 1, checkpoint_id: "cp", cause: "crash" }),
  wrote(14, "The answer", 2),
  event(15, "cycle_changed", { current_cycle: 1, max_cycles: 2, has_unresolved_review: false }),
];

describe("events", () => {
  const whole = addEvents(EMPTY_LOG, STORY);

  it("tell the story", () => {
    const { story } = whole;
    expect(story.answer.text).toBe("The answer");
    expect(story.hops).toHaveLength(1);
    expect(story.hops[0]).toMatchObject({ capability: "rag", outcome: "answered", begunCount: 1, text: { text: "half " } });
    expect(story.hops[0]!.tools).toMatchObject([{ name: "search", content: "found" }]);
    expect(story.resumes).toMatchObject([{ epoch: 2, cause: "crash" }]);
  });

  it("come to the same one by one, twice and in any order", () => {
    expect(STORY.reduce((log, each) => addEvents(log, [each]), EMPTY_LOG)).toEqual(whole);
    expect(addEvents(EMPTY_LOG, [...STORY, ...STORY])).toEqual(whole);
    for (const seed of [1, 2, 3, 4, 5]) {
      const order = shuffled([...STORY, ...STORY], seed);
      expect(order.reduce((log, each) => addEvents(log, [each]), EMPTY_LOG)).toEqual(whole);
    }
  });

  it("that are known change nothing", () => {
    expect(addEvents(whole, STORY)).toBe(whole);
    expect(addEvents(whole, [])).toBe(whole);
  });

  it("of a higher attempt replace the text, and those of a lower one come too late", () => {
    const log = addEvents(EMPTY_LOG, [wrote(1, "a"), wrote(2, "b", 3), wrote(3, "c", 2), wrote(4, "d", 3)]);
    expect(log.story.answer).toEqual({ text: "bd", attempt: 3 });
  });

  it("of a hop that is begun again replace those before", () => {
    const log = addEvents(whole, [started(16), wrote(17, "new", 1, 0)]);
    expect(log.story.hops[0]).toMatchObject({ begunCount: 2, endTime: null, text: { text: "new" }, tools: [] });
  });

  it("of a hop whose beginning is missing are shown all the same", () => {
    expect(addEvents(EMPTY_LOG, [ended(5, 3)]).story.hops).toMatchObject([{ index: 3, outcome: "answered", begunCount: 0 }]);
  });

  it("of an unknown type are counted", () => {
    const odd = (sequence: number) => ({ ...STORY[0]!, sequence, type: "from_the_future" }) as unknown as RunEventView;
    const log = addEvents(EMPTY_LOG, [odd(1), odd(2), event(3, "unknown", {}), started(4)]);
    expect(log.story.unknown).toEqual({ from_the_future: 2, unknown: 1 });
    expect(log.story.hops).toHaveLength(1);
  });

  it("ask and answer questions", () => {
    const question = { question_id: "q", text: "again?", response_schema: {}, create_time: null, asked_by: "in_doubt" };
    const asked = addEvents(EMPTY_LOG, [event(1, "question_asked", { question })]);
    expect(asked.story.questions).toMatchObject([{ isAnswered: false }]);
    const done = addEvents(asked, [event(2, "question_answered", { question_id: "q", answer: "repeat" })]);
    expect(done.story.questions).toMatchObject([{ isAnswered: true, answer: "repeat" }]);
  });

  it("keep one message for each id, and citations by number", () => {
    const citation = { number: 2, source: "a.md", title: "", start_line: 0, end_line: 0, page: 0, quote: "", chunk_id: "", score: 1 };
    const log = addEvents(EMPTY_LOG, [
      event(1, "citation_found", { hop_index: 0, citation }),
      event(2, "citation_found", { hop_index: 0, citation: { ...citation, number: 1 } }),
      event(3, "citation_found", { hop_index: 0, citation }),
    ]);
    expect(log.story.citations.map((each) => each.number)).toEqual([1, 2]);
  });
});

describe("agreement", () => {
  const { decisions } = addEvents(EMPTY_LOG, STORY).story;

  it("counts the calls before which the router named a service", () => {
    expect(decisions.map(agrees)).toEqual([true, false, null]);
    expect(agreementOf(decisions)).toEqual({ agreed: 1, compared: 2, share: 0.5 });
    expect(agreementOf([])).toEqual({ agreed: 0, compared: 0, share: null });
  });

  it("does not count decisions after an abstaining router, or before any", () => {
    const log = addEvents(EMPTY_LOG, [decided(1, "rag"), recommended(2, ""), decided(3, "rag")]);
    expect(agreementOf(log.story.decisions).compared).toBe(0);
  });

  it("knows how sure the router was of each", () => {
    expect(confidenceIn(decisions[1]!, "coding")).toBe(0.1);
    expect(confidenceIn(decisions[1]!, "nobody")).toBeNull();
  });
});

describe("the run now", () => {
  const story = (over: Parameters<typeof run>[0]) => addEvents(EMPTY_LOG, [event(9, "state_changed", { run: run(over) })]).story;

  it("is lost when that was said later, with the same numbers", () => {
    expect(newerRun(run(), run({ state: "lost" }))!.state).toBe("lost");
  });

  it("runs again with a new epoch, whatever comes late of the old one", () => {
    const resumed = run({ epoch: 2, last_sequence: 7 });
    expect(newerRun(run({ state: "lost", last_sequence: 5 }), resumed)).toBe(resumed);
    expect(newerRun(resumed, run({ state: "lost", last_sequence: 5 }))).toBe(resumed);
  });

  it("stays ended", () => {
    const done = run({ state: "succeeded", last_sequence: 9 });
    expect(newerRun(done, run({ state: "lost", epoch: 3, last_sequence: 12 }))).toBe(done);
  });

  it("takes what its own events know already", () => {
    expect(runNow(run(), story({ state: "paused", last_sequence: 9 }))!.state).toBe("paused");
    expect(runNow(run({ state: "succeeded", last_sequence: 20 }), story({ last_sequence: 9 }))!.state).toBe("succeeded");
    expect(runNow(null, story({}))!.run_id).toBe("run-1");
    expect(runNow(null, EMPTY_LOG.story)).toBeNull();
  });

  it("has the loop's status from what is newest", () => {
    const { story } = addEvents(EMPTY_LOG, STORY);
    expect(loopStatus(run({ max_cycles: 2 }), story)).toMatchObject({ currentCycle: 1, maxCycles: 2, remainingHops: 2, hopCount: 1 });
    expect(loopStatus(run({ state: "failed", remaining_hops: 0 }), story).remainingHops).toBe(0);
  });

  it("offers what its state allows", () => {
    expect(controlsOf("running")).toEqual(["pause", "cancel"]);
    expect(controlsOf("paused")).toEqual(["resume", "cancel"]);
    expect(controlsOf("succeeded")).toEqual([]);
  });
});
