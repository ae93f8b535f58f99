/** The browser's requests to control, through our own server: typed by control's OpenAPI document, each with an end. */
import { ApiFailure } from "./failure";
import type { paths } from "./schema";

const TIMEOUT_MS = 15_000;

type Method = "get" | "post" | "put" | "delete";
type PathsWith<M extends Method> = { [P in keyof paths]: paths[P][M] extends object ? P : never }[keyof paths];
type Operation<P extends keyof paths, M extends Method> = paths[P][M];
type Parameters<O, In extends "path" | "query"> = O extends { parameters: { [K in In]?: infer V } } ? NonNullable<V> : never;
type BodyOf<O> = O extends { requestBody?: { content: { "application/json": infer B } } } ? B : never;
type JsonOf<R> = R extends { content: { "application/json": infer J } } ? J : never;
export type AnswerOf<O> = O extends { responses: infer R } ? JsonOf<R[keyof R & (200 | 201 | 202)]> : never;

export interface RequestOptions<O> {
  path?: Parameters<O, "path">;
  query?: Parameters<O, "query">;
  body?: BodyOf<O>;
  signal?: AbortSignal;
}

export function get<P extends PathsWith<"get">>(path: P, options: RequestOptions<Operation<P, "get">> = {}) {
  return send("get", path, options) as Promise<AnswerOf<Operation<P, "get">>>;
}

export function post<P extends PathsWith<"post">>(path: P, options: RequestOptions<Operation<P, "post">> = {}) {
  return send("post", path, options) as Promise<AnswerOf<Operation<P, "post">>>;
}

export function put<P extends PathsWith<"put">>(path: P, options: RequestOptions<Operation<P, "put">> = {}) {
  return send("put", path, options) as Promise<AnswerOf<Operation<P, "put">>>;
}

async function send(method: Method, path: string, options: RequestOptions<unknown>): Promise<unknown> {
  const url = urlOf(path, options.path ?? {}, options.query ?? {});
  const limits = [AbortSignal.timeout(TIMEOUT_MS), ...(options.signal ? [options.signal] : [])];
  const hasBody = options.body !== undefined;
  let answer: Response;
  try {
    answer = await fetch(url, {
      method: method.toUpperCase(),
      headers: { accept: "application/json", ...(hasBody ? { "content-type": "application/json" } : {}) },
      body: hasBody ? JSON.stringify(options.body) : undefined,
      signal: AbortSignal.any(limits),
      cache: "no-store",
    });
    const text = await answer.text();
    if (!answer.ok) throw ApiFailure.of(answer.status, text);
    return text ? (JSON.parse(text) as unknown) : undefined;
  } catch (error) {
    if (options.signal?.aborted) throw error; // the caller left
    throw error instanceof ApiFailure ? error : unanswered(error);
  }
}

/** The address of a request; parameters that are undefined, null or empty are left out. */
export function urlOf(path: string, inPath: object, inQuery: object): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) =>
    encodeURIComponent(String((inPath as Record<string, unknown>)[name] ?? "")),
  );
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(inQuery)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== undefined && each !== null && each !== "") query.append(name, String(each));
    }
  }
  const text = query.toString();
  return text ? `${filled}?${text}` : filled;
}

function unanswered(error: unknown): ApiFailure {
  if (error instanceof DOMException && error.name === "TimeoutError") {
    const message = `No answer within ${TIMEOUT_MS / 1_000} seconds.`;
    return new ApiFailure({ status: 0, reason: "DEADLINE_EXCEEDED", message, remedy: "Try again in a moment." });
  }
  if (error instanceof SyntaxError) {
    return new ApiFailure({ status: 0, reason: "UNREADABLE", message: "The answer cannot be read." });
  }
  return new ApiFailure({
    status: 0,
    reason: "UNREACHABLE",
    message: "The dashboard's own server does not answer.",
    remedy: "Is `waystation up` still running? This page goes on by itself when it is back.",
  });
}
