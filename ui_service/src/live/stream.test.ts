import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { EventStream, SILENCE_MS, type StreamOptions } from "./stream";

interface Call {
  lastEventId: string | null;
  send: (text: string) => void;
  end: () => void;
  isAborted: () => boolean;
}

/** A server that is asked through `fetch`, and answers as the test says. */
function fakeServer() {
  const calls: Call[] = [];
  let status = 200;
  const answer = async (_: unknown, init?: RequestInit) => {
    let controller!: ReadableStreamDefaultController<Uint8Array>;
    const body = new ReadableStream<Uint8Array>({ start: (own) => void (controller = own) });
    init?.signal?.addEventListener("abort", () => controller.error(new DOMException("left", "AbortError")));
    calls.push({
      lastEventId: new Headers(init?.headers).get("last-event-id"),
      send: (text) => controller.enqueue(new TextEncoder().encode(text)),
      end: () => controller.close(),
      isAborted: () => init?.signal?.aborted ?? false,
    });
    return status === 200 ? new Response(body) : new Response("no", { status });
  };
  return { calls, fetch: answer as typeof fetch, refuse: (code: number) => void (status = code) };
}

function follow(server: ReturnType<typeof fakeServer>, options: Partial<StreamOptions> = {}) {
  const seen: string[] = [];
  const stream = new EventStream({
    url: "/api/events",
    onEvent: ({ event }) => {
      seen.push(event);
      if (event === "end") return "over";
      if (event === "restart") return "restart";
      return event === "novelty" ? "unknown" : "taken";
    },
    fetch: server.fetch,
    random: () => 0,
    ...options,
  });
  stream.open();
  return { stream, seen };
}

const settle = () => vi.advanceTimersByTimeAsync(0);

describe("EventStream", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  test("comes back with the last id after a break, and says so meanwhile", async () => {
    const server = fakeServer();
    const { stream } = follow(server);
    expect(stream.connection.get().phase).toBe("connecting");
    await settle();
    server.calls[0]?.send("id: 3\nevent: hop\ndata: {}\n\n");
    await settle();
    expect(stream.connection.get().phase).toBe("live");
    server.calls[0]?.end();
    await settle();
    expect(stream.connection.get().phase).toBe("waiting");
    await vi.advanceTimersByTimeAsync(5_000);
    expect(server.calls.map((call) => call.lastEventId)).toEqual([null, "3"]);
  });

  test("waits longer with each failure in a row", async () => {
    const server = fakeServer();
    server.refuse(503);
    const { stream } = follow(server);
    await vi.advanceTimersByTimeAsync(124);
    expect(server.calls).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(2);
    expect(server.calls).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(240);
    expect(server.calls).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(20);
    expect(server.calls).toHaveLength(3);
    expect(stream.connection.get().failures).toBe(3);
  });

  test("takes a silent line for a dead one", async () => {
    const server = fakeServer();
    follow(server);
    await vi.advanceTimersByTimeAsync(SILENCE_MS - 1);
    server.calls[0]?.send(": keep-alive\n\n");
    await vi.advanceTimersByTimeAsync(SILENCE_MS - 1);
    expect(server.calls[0]?.isAborted()).toBe(false);
    await vi.advanceTimersByTimeAsync(10);
    expect(server.calls[0]?.isAborted()).toBe(true);
  });

  test("counts events of unknown kinds and goes on", async () => {
    const server = fakeServer();
    const { stream, seen } = follow(server);
    await settle();
    server.calls[0]?.send("event: novelty\ndata: {}\n\nevent: hop\ndata: {}\n\n");
    await settle();
    expect(stream.connection.get().unknownEvents).toBe(1);
    expect(seen).toEqual(["novelty", "hop"]);
  });

  test("begins from the start when what it has is void", async () => {
    const server = fakeServer();
    follow(server);
    await settle();
    server.calls[0]?.send("id: 9\nevent: restart\ndata: {}\n\n");
    await vi.advanceTimersByTimeAsync(5_000);
    expect(server.calls[1]?.lastEventId).toBeNull();
  });

  test("ends for ever when the stream is over", async () => {
    const server = fakeServer();
    const { stream } = follow(server);
    await settle();
    server.calls[0]?.send("event: end\ndata: {}\n\n");
    await vi.advanceTimersByTimeAsync(60_000);
    stream.open();
    expect(stream.connection.get().phase).toBe("ended");
    expect(server.calls).toHaveLength(1);
  });

  test("gives up where its owner says so", async () => {
    const server = fakeServer();
    server.refuse(404);
    const { stream } = follow(server, { onRefusal: (status) => status === 404 });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(stream.connection.get().phase).toBe("ended");
    expect(server.calls).toHaveLength(1);
  });

  test("sleeps and goes on where it stopped", async () => {
    const server = fakeServer();
    const { stream, seen } = follow(server);
    await settle();
    server.calls[0]?.send("id: 4\nevent: hop\ndata: {}\n\n");
    await settle();
    stream.sleep();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(stream.connection.get().phase).toBe("asleep");
    expect(server.calls).toHaveLength(1);
    stream.open();
    await settle();
    expect(server.calls[1]?.lastEventId).toBe("4");
    expect(seen).toEqual(["hop"]);
  });
});
