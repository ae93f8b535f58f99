import { afterEach, expect, test, vi } from "vitest";

import { get, put, urlOf } from "./client";
import { ApiFailure } from "./failure";

afterEach(() => void vi.unstubAllGlobals());

function answer(status: number, body: string): void {
  vi.stubGlobal("fetch", async () => new Response(body, { status }));
}

async function failureOf(promise: Promise<unknown>): Promise<ApiFailure> {
  return promise.then(
    () => expect.fail("it succeeded"),
    (error: unknown) => ApiFailure.from(error),
  );
}

test("an address is filled in, whatever is in the values", () => {
  expect(urlOf("/api/runs/{run_id}/spans", { run_id: "a/../b?c" }, { page_size: 5, page_token: "", text: undefined })).toBe(
    "/api/runs/a%2F..%2Fb%3Fc/spans?page_size=5",
  );
  expect(urlOf("/api/runs", {}, { state: ["running", "lost"], text: "a&b" })).toBe("/api/runs?state=running&state=lost&text=a%26b");
});

test("a success is its JSON", async () => {
  answer(200, '{"state":"serving"}');
  expect((await get("/api/health")).state).toBe("serving");
});

test("a failure is in control's own words", async () => {
  answer(409, '{"reason":"WRONG_STATE","message":"It has ended.","remedy":"Fork it.","metadata":{"run_id":"r"}}');
  const failure = await failureOf(get("/api/health"));
  expect(failure).toMatchObject({ status: 409, reason: "WRONG_STATE", message: "It has ended.", remedy: "Fork it.", isPassing: false });
});

test.each(["<html>", "", "[]", '{"reason":1}'])("a failure whose body is %j still says its status", async (body) => {
  answer(502, body);
  const failure = await failureOf(get("/api/health"));
  expect(failure.message).toContain("502");
  expect(failure.isPassing).toBe(true);
});

test("a success that cannot be read is a failure", async () => {
  answer(200, "<html>");
  expect((await failureOf(get("/api/health"))).reason).toBe("UNREADABLE");
});

test("no answer at all names the dashboard's own server", async () => {
  vi.stubGlobal("fetch", () => Promise.reject(new TypeError("fetch failed")));
  const failure = await failureOf(put("/api/mode", { body: { mode: "debug", actor: "", reason: "" } }));
  expect(failure).toMatchObject({ reason: "UNREACHABLE", isPassing: true });
});

test("whoever leaves is not told of a failure", async () => {
  const left = new AbortController();
  left.abort();
  vi.stubGlobal("fetch", (_: string, { signal }: RequestInit) => Promise.reject(signal?.reason));
  await expect(get("/api/health", { signal: left.signal })).rejects.toThrow(DOMException);
});

test("what is no failure of ours is one that was not foreseen", () => {
  expect(ApiFailure.from("oops")).toMatchObject({ reason: "UNFORESEEN", isPassing: false });
});
