/** The run as it is now, out of what was fetched, what the control plane told and what the run's events say. Pure. */
import type { RunState, RunView } from "../types";
import type { Story } from "./runLog";

const ENDED: readonly RunState[] = ["succeeded", "failed", "cancelled"];

export function hasEnded(state: RunState): boolean {
  return ENDED.includes(state);
}

/**
 * The newer of two sayings; `said` came later than `known`.
 *
 * `lost` has no event of its own, so among equal numbers the later saying holds. One that ended stays ended.
 */
export function newerRun(known: RunView | null, said: RunView | null): RunView | null {
  if (!known || !said) return said ?? known;
  if (hasEnded(known.state) && !hasEnded(said.state)) return known;
  if (said.epoch !== known.epoch) return said.epoch > known.epoch ? said : known;
  return said.last_sequence >= known.last_sequence ? said : known;
}

/** The run with what its own events already know and the last saying does not. */
export function runNow(said: RunView | null, story: Story): RunView | null {
  const own = story.run;
  if (!said || !own) return said ?? own;
  const run = own.last_sequence > said.last_sequence || own.epoch > said.epoch ? newerRun(said, own)! : said;
  return { ...run, answer: run.answer || story.answer.text };
}

export interface LoopStatus {
  readonly currentCycle: number;
  readonly maxCycles: number;
  readonly remainingHops: number;
  readonly hopCount: number;
  readonly hasUnresolvedReview: boolean;
}

export function loopStatus(run: RunView, story: Story): LoopStatus {
  const lastDecision = story.decisions.at(-1);
  return {
    currentCycle: Math.max(run.current_cycle, story.cycle?.current ?? 0),
    maxCycles: Math.max(run.max_cycles, story.cycle?.max ?? 0),
    remainingHops: hasEnded(run.state) || !lastDecision ? run.remaining_hops : lastDecision.remaining_hops,
    hopCount: Math.max(run.hop_count, story.hops.length),
    hasUnresolvedReview: run.has_unresolved_review || (story.cycle?.hasUnresolvedReview ?? false),
  };
}

export type Control = "cancel" | "pause" | "resume";

/** What can be asked of a run in a state. */
export function controlsOf(state: RunState): readonly Control[] {
  switch (state) {
    case "pending":
    case "running":
      return ["pause", "cancel"];
    case "paused":
      return ["resume", "cancel"];
    case "input_required":
      return ["cancel"];
    default:
      return [];
  }
}
