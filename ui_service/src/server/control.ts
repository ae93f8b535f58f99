/** The one way from the dashboard's server to control's HTTP API. */
import { isOwnRequest } from "@/server/hosts";

const DEFAULT_URL = "http://127.0.0.1:7480";
const TIMEOUT_MS = 15_000;
const MAX_BODY_BYTES = 1024 * 1024;
const PASSED_ON = ["accept", "content-type", "last-event-id", "x-correlation-id", "traceparent"];
const PASSED_BACK = ["content-type", "cache-control", "x-correlation-id", "retry-after"];

const stopping = new AbortController();
process.once("SIGTERM", () => stopping.abort());
process.once("SIGINT", () => stopping.abort());

/** Pass a request under `/api/` on to control, and its answer back as it comes. */
export async function passThrough(request: Request): Promise<Response> {
  if (!isOwnRequest(request.method, request.headers)) {
    return failure(403, "FORBIDDEN", "Pages of other origins may not use this API.", "Use the dashboard's own address.");
  }
  const body = await readBody(request);
  if (body === null) {
    return failure(413, "LIMIT_EXCEEDED", `A body may have ${MAX_BODY_BYTES} bytes.`, "Send less.");
  }
  const asked = new URL(request.url);
  const isStream = (request.headers.get("accept") ?? "").includes("text/event-stream");
  const limits = [request.signal, stopping.signal, ...(isStream ? [] : [AbortSignal.timeout(TIMEOUT_MS)])];
  try {
    const answer = await fetch(new URL(asked.pathname + asked.search, controlUrl()), {
      method: request.method,
      headers: picked(request.headers, PASSED_ON),
      body: body.byteLength > 0 ? body : undefined,
      signal: AbortSignal.any(limits),
      cache: "no-store",
      redirect: "manual",
    });
    return passBack(answer);
  } catch (error) {
    return unreachable(error);
  }
}

function controlUrl(): string {
  return process.env.WAYSTATION_CONTROL_URL || DEFAULT_URL;
}

function passBack(answer: Response): Response {
  const headers = picked(answer.headers, PASSED_BACK);
  if (answer.headers.get("content-type")?.startsWith("text/event-stream")) {
    headers.set("cache-control", "no-cache, no-transform");
    headers.set("x-accel-buffering", "no");
  } else {
    headers.set("cache-control", "no-store");
  }
  return new Response(answer.body, { status: answer.status, headers });
}

function unreachable(error: unknown): Response {
  if (error instanceof DOMException && error.name === "TimeoutError") {
    return failure(504, "DEADLINE_EXCEEDED", "The control plane did not answer in time.", "Try again in a moment.");
  }
  return failure(
    503,
    "PEER_UNAVAILABLE",
    `The control plane does not answer at ${controlUrl()}.`,
    "Start it with `waystation up`; this page goes on by itself when it is back.",
  );
}

function picked(from: Headers, names: readonly string[]): Headers {
  const found = new Headers();
  for (const name of names) {
    const value = from.get(name);
    if (value !== null) found.set(name, value);
  }
  return found;
}

async function readBody(request: Request): Promise<Uint8Array<ArrayBuffer> | null> {
  const reader = request.body?.getReader();
  const body = new Uint8Array(reader ? MAX_BODY_BYTES : 0);
  let size = 0;
  for (let piece = await reader?.read(); piece && !piece.done; piece = await reader?.read()) {
    if (size + piece.value.byteLength > MAX_BODY_BYTES) return null;
    body.set(piece.value, size);
    size += piece.value.byteLength;
  }
  return body.slice(0, size);
}

function failure(status: number, reason: string, message: string, remedy: string): Response {
  return Response.json({ reason, message, remedy, metadata: {} }, { status, headers: { "cache-control": "no-store" } });
}
