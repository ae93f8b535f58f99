/** What the panel of decisions shows, in the order in which it happened. Pure. */
import type { Decided, Hop, Intervention, Recommended, Story } from "./runLog";

export type Happening =
  | { readonly kind: "recommendation"; readonly sequence: number; readonly recommendation: Recommended }
  | { readonly kind: "decision";
      readonly sequence: number;
      readonly decision: Decided;
      /** Whether it is the first that was made with its recommendation. */
      readonly isFirst: boolean;
    }
  | { readonly kind: "hop"; readonly sequence: number; readonly hop: Hop }
  | { readonly kind: "intervention"; readonly sequence: number; readonly intervention: Intervention };

export function happeningsOf(story: Story): Happening[] {
  const all: Happening[] = [
    ...story.decisions.map(
      (decision, index) =>
        ({
          kind: "decision",
          sequence: decision.sequence,
          decision,
          isFirst: decision.recommendation !== story.decisions[index - 1]?.recommendation,
        }) as const,
    ),
    ...story.hops.map((hop) => ({ kind: "hop", sequence: hop.sequence, hop }) as const),
    ...story.interventions.map((each) => ({ kind: "intervention", sequence: each.sequence, intervention: each }) as const),
  ];
  // a recommendation that a decision was made with is shown there
  const used = new Set(story.decisions.map((each) => each.recommendation));
  for (const recommendation of story.recommendations) {
    if (!used.has(recommendation)) all.push({ kind: "recommendation", sequence: recommendation.sequence, recommendation });
  }
  return all.sort((a, b) => a.sequence - b.sequence);
}
