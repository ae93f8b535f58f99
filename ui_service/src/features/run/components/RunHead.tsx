"use client";

import { ChevronLeft, CircleAlert, HeartCrack, Pause, Play, Square } from "lucide-react";
import Link from "next/link";
import type { ReactNode } from "react";

import { Badge } from "@/components/ui/Badge";
import { Button } from "@/components/ui/Button";

import { agreementOf } from "../fns/agreement";
import { count, duration, percent } from "../fns/format";
import type { Story } from "../fns/runLog";
import { type Control, controlsOf, hasEnded, loopStatus } from "../fns/runNow";
import { useNow } from "../hooks/useNow";
import type { RunActions } from "../hooks/useRunActions";
import type { RunView } from "../types";
import { STATES } from "./runState";

const CONTROLS: Record<Control, { label: string; icon: typeof Pause }> = {
  pause: { label: "Pause", icon: Pause },
  resume: { label: "Resume", icon: Play },
  cancel: { label: "Cancel", icon: Square },
};

/** What the run is, how it stands, and what can be done with it. */
export function RunHead({ run, story, actions }: { run: RunView; story: Story; actions: RunActions }) {
  const state = STATES[run.state];
  return (
    <header className="mb-5">
      <Link href="/runs" className="-ml-1 inline-flex items-center gap-1 rounded pr-1 text-sm text-muted hover:text-text">
        <ChevronLeft aria-hidden className="size-4" />
        Runs
      </Link>
      <div className="mt-2 flex flex-wrap items-start gap-x-4 gap-y-3">
        <h1 className="line-clamp-3 min-w-0 flex-1 basis-full text-lg sm:basis-64 font-semibold tracking-tight break-words whitespace-pre-line" title={run.query}>
          {run.query || "Run"}
        </h1>
        <div className="flex flex-wrap items-center gap-2">
          <span role="status" data-run-state={run.state}>
            <Badge tone={state.tone} dot isBeating={state.isBeating} className="h-6 px-2">
              {state.label}
            </Badge>
          </span>
          {controlsOf(run.state).map((control) => (
            <ControlButton key={control} control={control} actions={actions} />
          ))}
        </div>
      </div>
      <Facts run={run} story={story} />
      {run.state === "lost" && (
        <Note icon={<HeartCrack aria-hidden className="size-4" />}>
          The agent died with this run. It goes on from its last committed step as soon as an agent is back.
        </Note>
      )}
      {run.error && (
        <Note icon={<CircleAlert aria-hidden className="size-4" />}>
          <span className="font-medium">{run.error.message || run.error.reason}</span> {run.error.remedy}
          <span className="block text-xs">{run.error.reason}</span>
        </Note>
      )}
    </header>
  );
}

function ControlButton({ control, actions }: { control: Control; actions: RunActions }) {
  const { label, icon: Icon } = CONTROLS[control];
  return (
    <Button
      variant={control === "cancel" ? "danger" : control === "resume" ? "primary" : "secondary"}
      disabled={actions.control.isPending}
      onClick={() => actions.control.mutate(control)}
    >
      <Icon aria-hidden className="size-3.5" />
      {label}
    </Button>
  );
}

function Facts({ run, story }: { run: RunView; story: Story }) {
  const loop = loopStatus(run, story);
  const agreement = agreementOf(story.decisions);
  const tokens = run.usage.input_tokens + run.usage.output_tokens;
  const lives = Math.max(1, story.resumes.length + 1);
  return (
    <dl className="mt-3 flex flex-wrap gap-x-6 gap-y-2 text-sm">
      <Fact name="Workflow">{run.workflow || "auto"}</Fact>
      <Fact name="Time">
        <Elapsed run={run} />
      </Fact>
      <Fact name="Hops">
        {loop.hopCount} done, {loop.remainingHops} left
      </Fact>
      {loop.maxCycles > 0 && (
        <Fact name="Loop">
          <span data-loop>
            Review cycle {loop.currentCycle} of {loop.maxCycles}
          </span>
          {loop.hasUnresolvedReview && <span className="ml-2 text-warn">changes still wanted</span>}
        </Fact>
      )}
      {agreement.compared > 0 && (
        <Fact name="Router agreed">
          {agreement.agreed} of {agreement.compared} ({percent(agreement.share)})
        </Fact>
      )}
      {tokens > 0 && <Fact name="Tokens">{tokens.toLocaleString("en")}</Fact>}
      {lives > 1 && <Fact name="Lives">{count(lives, "epoch")}</Fact>}
      <Fact name="Began">{run.create_time ? <time dateTime={run.create_time}>{new Date(run.create_time).toLocaleString()}</time> : "–"}</Fact>
      <Fact name="Run">
        <span className="font-mono text-xs break-all">{run.run_id}</span>
      </Fact>
    </dl>
  );
}

function Elapsed({ run }: { run: RunView }) {
  const isMoving = !hasEnded(run.state) && run.create_time !== null;
  const now = useNow(isMoving);
  if (run.create_time === null) return "–";
  const end = run.end_time ? Date.parse(run.end_time) : now;
  return <span className="tabular-nums">{duration(Math.max(0, end - Date.parse(run.create_time)))}</span>;
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div className="min-w-0">
      <dt className="text-xs text-muted">{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Note({ icon, children }: { icon: ReactNode; children: ReactNode }) {
  return (
    <div role="alert" className="mt-4 flex gap-2.5 rounded-md bg-bad-soft px-3 py-2.5 text-sm break-words text-bad">
      <span className="mt-0.5 shrink-0">{icon}</span>
      <p className="min-w-0">{children}</p>
    </div>
  );
}
