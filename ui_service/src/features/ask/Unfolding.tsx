"use client";

import { ArrowRight } from "lucide-react";
import Link from "next/link";

import { Badge } from "@/components/ui/Badge";
import { Button } from "@/components/ui/Button";
import { Panel } from "@/components/ui/Panel";
import { SkeletonRows } from "@/components/ui/Skeleton";
import { ErrorState } from "@/components/ui/States";
import { AnswerPanel } from "@/features/run/components/AnswerPanel";
import { ArtifactsPanel } from "@/features/run/components/ArtifactsPanel";
import { DecisionsPanel } from "@/features/run/components/DecisionsPanel";
import { QuestionForm } from "@/features/run/components/QuestionForm";
import { STATES } from "@/features/run/components/runState";
import { count } from "@/features/run/fns/format";
import { hasEnded } from "@/features/run/fns/runNow";
import { useRun } from "@/features/run/hooks/useRun";
import { useRunActions } from "@/features/run/hooks/useRunActions";

/** A run as it unfolds under its question. */
export function Unfolding({ runId }: { runId: string }) {
  const { run, story, isLoading, error, retry } = useRun(runId);
  const actions = useRunActions(runId);
  if (!run) return isLoading ? <SkeletonRows label="Loading the run" /> : <ErrorState error={error} onRetry={retry} />;
  const state = STATES[run.state];
  const hasArtifacts = story.hops.some((hop) => hop.artifacts.length > 0);
  const citations = story.citations.length ? story.citations : run.citations;
  return (
    <div className="grid gap-4" data-run={run.run_id} data-state={run.state}>
      <header className="flex flex-wrap items-center gap-x-3 gap-y-2">
        <h2 className="min-w-0 flex-1 basis-80 text-base font-semibold break-words whitespace-pre-wrap">{run.query}</h2>
        <Badge tone={state.tone} dot isBeating={state.isBeating}>
          {state.label}
        </Badge>
        <span className="text-sm text-muted tabular-nums">{count(story.hops.length, "hop")}</span>
        {!hasEnded(run.state) && (
          <Button disabled={actions.control.isPending} onClick={() => actions.control.mutate("cancel")}>
            Cancel
          </Button>
        )}
        <Button asChild>
          <Link href={`/runs/${encodeURIComponent(run.run_id)}`}>
            Open the run
            <ArrowRight aria-hidden className="size-3.5" />
          </Link>
        </Button>
      </header>
      {run.error && (
        <p role="alert" className="rounded-md bg-bad-soft px-3 py-2 text-sm break-words text-bad">
          {run.error.message} {run.error.remedy}
        </p>
      )}
      {run.questions.map((question) => (
        <QuestionForm key={question.question_id} question={question} actions={actions} />
      ))}
      <Panel title="Answer">
        <div aria-live="polite" aria-busy={!hasEnded(run.state)}>
          <AnswerPanel run={run} citations={citations} />
        </div>
      </Panel>
      {hasArtifacts && (
        <Panel title="Code and what it did">
          <ArtifactsPanel hops={story.hops} />
        </Panel>
      )}
      <Panel title="How it came to it">
        <DecisionsPanel story={story} />
      </Panel>
    </div>
  );
}
