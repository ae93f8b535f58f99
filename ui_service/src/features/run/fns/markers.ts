/** What happened in a run apart from its spans, as marks on the time axis. Pure. */
import type { Tab } from "./pageUrl";
import type { Story } from "./runLog";

export interface Marker {
  readonly id: string;
  readonly kind: "message" | "question" | "intervention" | "resumed";
  readonly timeMs: number;
  readonly label: string;
  /** The span it happened in; "" when nobody knows. */
  readonly spanId: string;
  /** Where there is more about it. */
  readonly tab: Tab;
}

/** So many are shown, the newest. */
export const MAX_MARKERS = 200;

export function markersOf(story: Story): Marker[] {
  const marks: Marker[] = [
    ...story.messages.map((each) =>
      mark(each, "message", `m-${each.message_id}`, `Message from ${each.sender_role} to ${each.recipient_role}`, "messages"),
    ),
    ...story.questions.map((each) =>
      mark(each, "question", `q-${each.question_id}`, `Question by ${each.asked_by}: ${each.text}`, "timeline"),
    ),
    ...story.interventions.map((each) =>
      mark(each, "intervention", `i-${each.id}`, `${each.actor}: ${each.action}. ${each.reason}`, "decisions"),
    ),
    ...story.resumes.map((each) =>
      mark(each, "resumed", `r-${each.sequence}`, `Taken up again, cause: ${each.cause}`, "checkpoints"),
    ),
  ];
  return marks
    .filter((each) => Number.isFinite(each.timeMs))
    .sort((a, b) => a.timeMs - b.timeMs)
    .slice(-MAX_MARKERS);
}

function mark(at: { time: string; spanId: string }, kind: Marker["kind"], id: string, label: string, tab: Tab): Marker {
  return { id, kind, timeMs: Date.parse(at.time), label: label.slice(0, 200), spanId: at.spanId, tab };
}
