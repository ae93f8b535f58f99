import Link from "next/link";

import type { RunView } from "@/api/schema";
import { Badge } from "@/components/ui/Badge";
import { Moment } from "@/components/ui/Moment";
import { useClock } from "@/components/useClock";
import { STATES } from "@/features/run/components/runState";
import { count, duration } from "@/features/run/fns/format";
import { hasEnded } from "@/features/run/fns/runNow";

import { tookMs } from "./fns/runPages";

/** One run of the list. */
export function RunRow({ run }: { run: RunView }) {
  const state = STATES[run.state];
  return (
    <li data-run={run.run_id} data-state={run.state}>
      <Link
        href={`/runs/${encodeURIComponent(run.run_id)}`}
        prefetch={false}
        className="grid grid-cols-[minmax(0,1fr)_auto] gap-x-4 gap-y-1 px-4 py-2.5 transition-colors hover:bg-hover focus-visible:-outline-offset-2 md:grid-cols-[9.5rem_minmax(0,1fr)_7rem_6rem_5rem_6.5rem] md:items-center"
      >
        <span className="order-2 col-span-2 flex md:order-none md:col-span-1">
          <Badge tone={state.tone} dot isBeating={state.isBeating}>
            {state.label}
          </Badge>
        </span>
        <span className="truncate font-medium">{run.query || "(no question)"}</span>
        <span className="hidden truncate text-sm text-muted md:inline">{run.workflow}</span>
        <span className="hidden text-sm text-muted tabular-nums md:inline">{count(run.hop_count, "hop")}</span>
        <span className="hidden text-right text-sm text-muted tabular-nums md:inline">
          {hasEnded(run.state) ? duration(tookMs(run, 0)) : <Growing run={run} />}
        </span>
        <span className="text-right text-sm text-muted">
          <Moment at={run.create_time} />
        </span>
      </Link>
    </li>
  );
}

function Growing({ run }: { run: RunView }) {
  const took = tookMs(run, useClock());
  return took === null ? "–" : duration(Math.floor(took / 1_000) * 1_000);
}
