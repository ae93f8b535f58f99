import { describe, expect, it } from "vitest";

import { answerParts } from "./answerParts";
import { artifactGroups, executionOf } from "./artifactGroups";
import { happeningsOf } from "./happenings";
import { event } from "./made";
import { markersOf, MAX_MARKERS } from "./markers";
import { addEvents, EMPTY_LOG, followed } from "./runLog";
import { serviceColour } from "./serviceColour";
import { mergedMessages } from "./thread";
import type { ArtifactView, MessageView } from "../types";

const artifact = (over: Partial<ArtifactView>): ArtifactView => ({
  artifact_id: "c1",
  kind: "code",
  name: "main.py",
  media_type: "text/x-python",
  text: "print(1)",
  data: "",
  sha256: "",
  metadata: {},
  ...over,
});
const message = (over: Partial<MessageView>): MessageView => ({
  message_id: "m1",
  sender_role: "reviewer",
  recipient_role: "coder",
  payload: {},
  hop_index: 0,
  correlation_id: "",
  trace_id: "",
  sequence: 1,
  create_time: null,
  expire_time: null,
  in_reply_to: "",
  state: "pending",
  dead_letter_reason: "",
  ...over,
});

describe("an answer", () => {
  it("is text, code and references to the citations that are there", () => {
    expect(answerParts("See [1] and [7].\n```python\nprint([1])\n```\n\nDone.", new Set([1]))).toEqual([
      { kind: "text", text: "See " },
      { kind: "citation", number: 1 },
      { kind: "text", text: " and [7]." },
      { kind: "code", text: "print([1])", language: "python" },
      { kind: "text", text: "Done." },
    ]);
  });

  it("may be cut within code, or hold longer fences", () => {
    expect(answerParts("a\n```\nhalf", new Set())).toEqual([
      { kind: "text", text: "a" },
      { kind: "code", text: "half", language: "" },
    ]);
    expect(answerParts("````md\n```\nx\n```\n````", new Set())).toEqual([{ kind: "code", text: "```\nx\n```", language: "md" }]);
  });

  it("may be empty, or markup that stays text", () => {
    expect(answerParts("", new Set([1]))).toEqual([]);
    expect(answerParts("<script>alert(1)</script>", new Set())).toEqual([{ kind: "text", text: "<script>alert(1)</script>" }]);
  });
});

describe("artifacts", () => {
  const made = (sequence: number, of: ArtifactView) => event(sequence, "artifact_made", { hop_index: 0, artifact: of });

  it("are shown with what running them came to", () => {
    const run = artifact({ artifact_id: "r1", kind: "run", text: '{"stdout": "1\\n", "stderr": "", "state": "succeeded", "exit_code": 0}', metadata: { code: "c1" } });
    const lone = artifact({ artifact_id: "r2", kind: "run", metadata: { code: "gone" } });
    const { story } = addEvents(EMPTY_LOG, [made(1, artifact({})), made(2, run), made(3, lone)]);
    const groups = artifactGroups(story.hops);
    expect(groups.map((group) => [group.artifact.artifact_id, group.runs.map((each) => each.artifact_id)])).toEqual([
      ["c1", ["r1"]],
      ["r2", ["r2"]],
    ]);
    expect(executionOf(run)).toEqual({ stdout: "1\n", stderr: "", state: "succeeded", exitCode: "0" });
  });

  it.each(["", "null", "[]", "{", '{"a": 1}', '{"stdout": 5}'])("of another form are no execution: %j", (text) => {
    expect(executionOf(artifact({ text }))).toBeNull();
  });
});

describe("marks", () => {
  it("are at their time, without those that have none, the newest only", () => {
    const sent = Array.from({ length: 300 }, (_, index) =>
      event(index + 1, "message_sent", { message: message({ message_id: `m${index}` }) }),
    );
    const odd = { ...sent[0]!, sequence: 900, create_time: "never" } as (typeof sent)[number];
    const marks = markersOf(addEvents(EMPTY_LOG, [...sent, odd]).story);
    expect(marks).toHaveLength(MAX_MARKERS);
    expect(marks.at(-1)).toMatchObject({ kind: "message", timeMs: 1_300, tab: "messages" });
  });
});

describe("happenings", () => {
  it("are in order, a recommendation with the first decision that was made with it", () => {
    const decision = {
      action: "call", capability: "rag", role: "", task: "", reason: "", source: "model", remaining_hops: 1, is_override: false, latency_ms: 1,
    } as const;
    const recommendation = { top: "rag", candidates: [], router: "embedding", latency_ms: 1 };
    const { story } = addEvents(EMPTY_LOG, [
      event(1, "route_recommended", { recommendation }),
      event(2, "decision_made", { decision }),
      event(3, "citation_found", { hop_index: 0, citation: { number: 1, source: "a", title: "", start_line: 0, end_line: 0, page: 0, quote: "", chunk_id: "", score: null } }),
      event(4, "decision_made", { decision }),
      event(5, "route_recommended", { recommendation }),
    ]);
    expect(happeningsOf(story).map((each) => [each.kind, each.sequence, "isFirst" in each && each.isFirst])).toEqual([
      ["decision", 2, true],
      ["hop", 3, false],
      ["decision", 4, false],
      ["recommendation", 5, false],
    ]);
  });
});

describe("messages", () => {
  it("are in order, each once, with what has become of them", () => {
    const told = [message({ message_id: "b", create_time: "2026-01-01T00:00:02Z" }), message({ message_id: "a", create_time: "2026-01-01T00:00:01Z" })];
    const listed = [message({ message_id: "b", create_time: "2026-01-01T00:00:02Z", state: "acknowledged" })];
    expect(mergedMessages(told, listed).map((each) => [each.message_id, each.state])).toEqual([
      ["a", "pending"],
      ["b", "acknowledged"],
    ]);
    expect(mergedMessages([message({ sequence: 2, message_id: "y" }), message({ message_id: "x" })], []).map((each) => each.message_id)).toEqual(["x", "y"]);
  });
});

describe("a log that is followed", () => {
  const events = [event(1, "cycle_changed", { current_cycle: 1, max_cycles: 2, has_unresolved_review: false }), event(2, "unknown", {})];

  it("goes on, and begins anew with another life", () => {
    const first = followed(EMPTY_LOG, events.slice(0, 1));
    expect(followed(first, events.slice(0, 1))).toBe(first);
    expect(followed(first, events).events).toHaveLength(2);
    expect(followed(first, []).events).toHaveLength(0);
    expect(followed(first, [{ ...events[0]! }, events[1]!]).events).toHaveLength(2);
  });
});

it("gives each service one colour", () => {
  expect(serviceColour("agent")).not.toBe(serviceColour("rag"));
  expect(serviceColour("x".repeat(200))).toBe(serviceColour("x".repeat(200)));
});
