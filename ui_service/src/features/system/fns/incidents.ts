/** How crashes and recoveries are said. Pure. */
import type { IncidentList, IncidentView } from "@/api/schema";
import type { Tone } from "@/components/ui/Badge";

export const INCIDENTS: Record<IncidentView["kind"], { label: string; tone: Tone }> = {
  process_lost: { label: "Process lost", tone: "bad" },
  process_back: { label: "Process back", tone: "good" },
  run_lost: { label: "Run lost", tone: "bad" },
  run_resumed: { label: "Run resumed", tone: "good" },
};

/** The list with one that was told, newest first and each once. */
export function withIncident(list: IncidentList, told: IncidentView): IncidentList {
  const others = list.incidents.filter((each) => each.number !== told.number);
  return { ...list, incidents: [told, ...others].sort((a, b) => b.number - a.number) };
}
