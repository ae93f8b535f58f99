/** What the list of runs is narrowed to, as its address has it. Pure. */
import type { RunView } from "@/api/schema";

export type RunState = RunView["state"];

export interface RunFilters {
  states: readonly RunState[];
  workflow: string;
  service: string;
  text: string;
}

/** The names that a reader chooses among, each with the states behind it. */
export const STATE_CHOICES = {
  active: { label: "Active", states: ["pending", "running"] },
  waiting: { label: "Waiting for somebody", states: ["input_required", "paused"] },
  succeeded: { label: "Succeeded", states: ["succeeded"] },
  failed: { label: "Failed", states: ["failed"] },
  cancelled: { label: "Cancelled", states: ["cancelled"] },
  lost: { label: "Lost", states: ["lost"] },
} as const satisfies Record<string, { label: string; states: readonly RunState[] }>;

export type StateChoice = keyof typeof STATE_CHOICES;
export const MAX_TEXT = 200;

/** Which choice the address names; what it does not know is as if it were not there. */
export function readFilters(query: URLSearchParams): RunFilters & { choice: StateChoice | "" } {
  const named = query.get("state") ?? "";
  const choice = Object.hasOwn(STATE_CHOICES, named) ? (named as StateChoice) : "";
  const take = (name: string) => (query.get(name) ?? "").slice(0, MAX_TEXT);
  return {
    choice,
    states: choice ? STATE_CHOICES[choice].states : [],
    workflow: take("workflow"),
    service: take("service"),
    text: take("text"),
  };
}

/** The address of the list with one filter changed; an empty value takes the filter away. */
export function addressWith(query: URLSearchParams, name: string, value: string): string {
  const next = new URLSearchParams(query);
  if (value) next.set(name, value);
  else next.delete(name);
  const text = next.toString();
  return text ? `/runs?${text}` : "/runs";
}

export function isNarrowed(filters: RunFilters): boolean {
  return filters.states.length > 0 || Boolean(filters.workflow || filters.service || filters.text);
}
