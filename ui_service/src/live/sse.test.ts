import { describe, expect, test } from "vitest";

import { MAX_EVENT_CHARS, SseReader } from "./sse";

const STREAM = ': keep-alive\n\nevent: ready\nid: 7\ndata: {"cursor":"7"}\n\nid: 8\nevent: hop\ndata: a\ndata: b\n\ndata\n\n';
const EVENTS = [
  { event: "ready", id: "7", data: '{"cursor":"7"}' },
  { event: "hop", id: "8", data: "a\nb" },
  { event: "message", id: "8", data: "" },
];

describe("SseReader", () => {
  test.each(["\n", "\r\n", "\r"])("reads events whatever ends the lines: %j", (end) => {
    const text = STREAM.replaceAll("\n", end);
    // a stream that ends its lines with \r alone shows the end of its last line only with what comes next
    expect(new SseReader().push(end === "\r" ? `${text}:` : text)).toEqual(EVENTS);
  });

  test.each(["\n", "\r\n"])("gives the same events wherever the pieces are cut: %j", (end) => {
    const text = STREAM.replaceAll("\n", end);
    for (let size = 1; size < 12; size += 1) {
      const reader = new SseReader();
      const events = [];
      for (let at = 0; at < text.length; at += size) events.push(...reader.push(text.slice(at, at + size)));
      expect(events).toEqual(EVENTS);
    }
  });

  test("keeps the id that it was begun with until the stream gives another", () => {
    expect(new SseReader("5").push("data: x\n\n")).toEqual([{ event: "message", id: "5", data: "x" }]);
  });

  test("says nothing of an event that is not whole", () => {
    expect(new SseReader().push("event: hop\ndata: x\n")).toEqual([]);
  });

  test("ends when an event grows without end", () => {
    const reader = new SseReader();
    expect(() => reader.push(`data: ${"x".repeat(MAX_EVENT_CHARS)}`)).toThrow(RangeError);
  });
});
