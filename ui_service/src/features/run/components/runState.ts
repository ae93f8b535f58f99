import type { Tone } from "@/components/ui/Badge";

import type { RunState } from "../types";

/** How each state of a run is said and coloured. */
export const STATES: Record<RunState, { label: string; tone: Tone; isBeating?: boolean }> = {
  unspecified: { label: "Unknown", tone: "neutral" },
  pending: { label: "Pending", tone: "neutral", isBeating: true },
  running: { label: "Running", tone: "accent", isBeating: true },
  input_required: { label: "Waits for an answer", tone: "warn" },
  paused: { label: "Paused", tone: "warn" },
  succeeded: { label: "Succeeded", tone: "good" },
  failed: { label: "Failed", tone: "bad" },
  cancelled: { label: "Cancelled", tone: "neutral" },
  lost: { label: "Lost", tone: "bad", isBeating: true },
};
