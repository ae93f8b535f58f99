/** How often the arbitrator chose what the router recommended. Pure. */
import type { Decided } from "./runLog";

export interface Agreement {
  readonly agreed: number;
  /** Calls before which the router named a service. */
  readonly compared: number;
  /** From 0 to 1; null while there is nothing to compare. */
  readonly share: number | null;
}

/** Null when the decision is no call, or the router had abstained. */
export function agrees(decided: Decided): boolean | null {
  if (decided.action !== "call" || !decided.recommendation?.top) return null;
  return decided.recommendation.top === decided.capability;
}

/** The calibrated confidence of the router in a service; null when it did not name it. */
export function confidenceIn(decided: Decided, service: string): number | null {
  return decided.recommendation?.candidates.find((each) => each.service === service)?.confidence ?? null;
}

export function agreementOf(decisions: readonly Decided[]): Agreement {
  const verdicts = decisions.map(agrees).filter((verdict) => verdict !== null);
  const agreed = verdicts.filter(Boolean).length;
  return { agreed, compared: verdicts.length, share: verdicts.length ? agreed / verdicts.length : null };
}
