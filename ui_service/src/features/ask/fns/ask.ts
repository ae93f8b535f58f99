/** What is asked: as the form holds it, the address remembers it, and control takes it. Pure. */
import type { RunStart } from "@/api/schema";

export const EFFORTS = ["low", "medium", "high"] as const;
export type Effort = (typeof EFFORTS)[number];
export const DEFAULT_WORKFLOW = "auto";
/** The agent's own limit. */
export const MAX_QUERY_BYTES = 32_768;

export interface Asked {
  query: string;
  workflow: string;
  effort: Effort;
  /** Empty begins a new conversation. */
  threadId: string;
}

/** What a request is, or why it cannot be sent. Each has an id of its own, so that it can be sent again safely. */
export function requestOf(asked: Asked, requestId: string): { body: RunStart } | { problem: string } {
  const query = asked.query.trim();
  if (!query) return { problem: "Write a question first." };
  const size = new TextEncoder().encode(query).length;
  if (size > MAX_QUERY_BYTES) return { problem: `The question has ${size} bytes; ${MAX_QUERY_BYTES} are allowed.` };
  const { workflow, effort, threadId } = asked;
  return { body: { query, workflow, effort, thread_id: threadId.trim(), tenant: "", request_id: requestId, run_timeout_s: null } };
}

/** The address of the page that shows a run. */
export function addressOf(runId: string): string {
  return `/ask?run=${encodeURIComponent(runId)}`;
}

/** Workflows to choose among; the default first, and there even while control does not tell. */
export function workflowChoices(known: readonly string[]): string[] {
  return [DEFAULT_WORKFLOW, ...known.filter((name) => name !== DEFAULT_WORKFLOW).sort()];
}
