"use client";

import { cn } from "@/components/cn";
import { Tip } from "@/components/ui/Tooltip";
import type { ConnectionPhase } from "@/live/connection";
import { useConnection } from "@/live/LiveProvider";

const SAYINGS: Record<ConnectionPhase, { label: string; tip: string; dot: string }> = {
  connecting: { label: "Connecting", tip: "Waiting for control's events.", dot: "bg-warn animate-pulse-slow" },
  live: { label: "Live", tip: "What happens is shown as it happens.", dot: "bg-good" },
  waiting: {
    label: "Reconnecting",
    tip: "Control does not answer. What is shown is from before; it goes on by itself.",
    dot: "bg-bad animate-pulse-slow",
  },
  asleep: { label: "Asleep", tip: "This page was not looked at for a while.", dot: "bg-muted" },
  ended: { label: "Ended", tip: "The stream is over.", dot: "bg-muted" },
};

/** Whether what is shown is what is. */
export function ConnectionState() {
  const { phase, unknownEvents } = useConnection();
  const saying = SAYINGS[phase];
  const ignored = unknownEvents > 0 ? ` ${unknownEvents} events of a newer kind were ignored.` : "";
  return (
    <Tip text={saying.tip + ignored}>
      <div
        role="status"
        tabIndex={0}
        data-connection={phase}
        className="flex h-8 items-center gap-2.5 rounded-md px-2 text-sm text-muted"
      >
        <span aria-hidden className={cn("mx-1 size-2 rounded-full", saying.dot)} />
        {saying.label}
      </div>
    </Tip>
  );
}
