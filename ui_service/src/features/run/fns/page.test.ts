import { describe, expect, it } from "vitest";

import { bytes, count, duration, percent, shown } from "./format";
import { readView, writeView } from "./pageUrl";
import { threadOf } from "./thread";
import type { MessageView } from "../types";

describe("a link", () => {
  it("restores panel, span and search", () => {
    const view = { tab: "messages", span: "t/s", search: "a b&c" } as const;
    expect(readView(new URLSearchParams(writeView(view)))).toEqual(view);
    expect(writeView({ tab: "timeline", span: "", search: "" })).toBe("");
  });

  it("that is odd opens the timeline", () => {
    expect(readView(new URLSearchParams("tab=<script>&span="))).toEqual({ tab: "timeline", span: "", search: "" });
  });
});

describe("times and amounts", () => {
  it.each([
    [0, "0"],
    [0.0124, "12 µs"],
    [1.234, "1.23 ms"],
    [42.42, "42.4 ms"],
    [420.4, "420 ms"],
    [999.6, "1.00 s"],
    [1_234, "1.23 s"],
    [61_000, "1 min 1 s"],
    [3_599_800, "1 h 0 min"],
    [null, "–"],
    [Infinity, "–"],
  ])("%s ms is %s", (ms, text) => expect(duration(ms)).toBe(text));

  it("are short", () => {
    expect([bytes(12), bytes(2048), bytes(-1), percent(0.994), percent(null), count(1, "hop"), count(2, "hop")]).toEqual([
      "12 B",
      "2.0 KiB",
      "–",
      "99 %",
      "–",
      "1 hop",
      "2 hops",
    ]);
    expect(shown({ a: 1 })).toBe('{\n  "a": 1\n}');
    expect(shown("x".repeat(30), 10)).toBe("xxxxxxxxxx\n… 20 more characters");
    expect(shown(undefined)).toBe("undefined");
  });
});

describe("a thread of messages", () => {
  const message = (message_id: string, in_reply_to = "") => ({ message_id, in_reply_to }) as MessageView;
  const told = (messages: MessageView[]) => threadOf(messages).map((row) => `${row.depth}${row.message.message_id}`);

  it("has replies below what they answer", () => {
    expect(told([message("a"), message("b"), message("c", "a"), message("d", "c"), message("e", "a")])).toEqual([
      "0a", "1c", "2d", "1e", "0b",
    ]);
  });

  it("shows each message once, whatever it answers", () => {
    expect(told([message("a", "gone"), message("b", "b"), message("c", "d"), message("d", "c")])).toEqual(["0a", "0b", "0c", "1d"]);
    expect(told([])).toEqual([]);
  });
});
