"use client";

import { useQueryClient } from "@tanstack/react-query";
import { SearchX } from "lucide-react";
import dynamic from "next/dynamic";

import { ApiFailure } from "@/api/failure";
import { keys } from "@/api/keys";
import { Skeleton, SkeletonRows } from "@/components/ui/Skeleton";
import { EmptyState, ErrorState } from "@/components/ui/States";
import { Tabs } from "@/components/ui/Tabs";

import { type Tab, TABS } from "../fns/pageUrl";
import type { Story } from "../fns/runLog";
import { usePageView } from "../hooks/usePageView";
import { useRun } from "../hooks/useRun";
import { useRunActions } from "../hooks/useRunActions";
import { useRunSpans } from "../hooks/useRunSpans";
import { Timeline } from "../timeline/Timeline";
import type { RunView } from "../types";
import { AnswerPanel } from "./AnswerPanel";
import { QuestionForm } from "./QuestionForm";
import { RunHead } from "./RunHead";

const loading = () => <SkeletonRows rows={5} />;
const DecisionsPanel = dynamic(() => import("./DecisionsPanel").then((module) => module.DecisionsPanel), { loading });
const MessagesPanel = dynamic(() => import("./MessagesPanel").then((module) => module.MessagesPanel), { loading });
const CheckpointsPanel = dynamic(() => import("./CheckpointsPanel").then((module) => module.CheckpointsPanel), { loading });
const ArtifactsPanel = dynamic(() => import("./ArtifactsPanel").then((module) => module.ArtifactsPanel), { loading });

/** One run: watched while it thinks, hops, crashes and comes back. */
export function RunPage({ runId }: { runId: string }) {
  const { run, story, isLoading, error, retry } = useRun(runId);
  if (run) return <FoundRun run={run} story={story} />;
  if (isLoading) return <Loading />;
  if (ApiFailure.from(error).isNotFound) {
    return (
      <EmptyState icon={SearchX} title="There is no such run">
        <span className="break-all">Nobody knows {runId}. It may have been deleted.</span>
      </EmptyState>
    );
  }
  return <ErrorState error={error} onRetry={retry} />;
}

function FoundRun({ run, story }: { run: RunView; story: Story }) {
  const client = useQueryClient();
  const actions = useRunActions(run.run_id);
  const spans = useRunSpans(run.run_id);
  const [view, setView] = usePageView();
  const citations = run.citations.length ? run.citations : story.citations;
  const artifactCount = story.hops.reduce((sum, hop) => sum + hop.artifacts.length, 0);
  const unknown = Object.values(story.unknown).reduce((sum, each) => sum + each, 0);
  const panels: Record<Tab, [string, number, () => React.ReactNode]> = {
    timeline: [
      "Timeline",
      spans.spans.size,
      () => (
        <Timeline
          runId={run.run_id}
          story={story}
          spans={spans}
          view={view}
          onView={setView}
          onRetry={() => void client.refetchQueries({ queryKey: keys.runSpans(run.run_id) })}
        />
      ),
    ],
    answer: ["Answer", 0, () => <AnswerPanel run={run} citations={citations} />],
    decisions: ["Decisions", story.decisions.length, () => <DecisionsPanel story={story} />],
    messages: ["Messages", story.messages.length, () => <MessagesPanel runId={run.run_id} story={story} />],
    checkpoints: ["Checkpoints", story.checkpoints.length, () => <CheckpointsPanel run={run} story={story} actions={actions} />],
    artifacts: ["Artifacts", artifactCount, () => <ArtifactsPanel hops={story.hops} />],
  };
  return (
    <>
      <RunHead run={run} story={story} actions={actions} />
      {run.state === "input_required" &&
        run.questions.map((question) => <QuestionForm key={question.question_id} question={question} actions={actions} />)}
      <Tabs
        label="What of the run is shown"
        value={view.tab}
        onChange={(tab) => setView({ tab: tab as Tab })}
        tabs={TABS.map((tab) => ({
          value: tab,
          label: <TabLabel name={panels[tab][0]} count={panels[tab][1]} />,
          content: <div className="min-w-0 overflow-hidden rounded-lg border border-line bg-surface">{view.tab === tab && panels[tab][2]()}</div>,
        }))}
      />
      {unknown > 0 && <p className="mt-3 text-sm text-muted">{unknown} events of a newer kind are not shown.</p>}
    </>
  );
}

function TabLabel({ name, count }: { name: string; count: number }) {
  return (
    <>
      {name}
      {count > 0 && <span className="rounded bg-hover px-1 text-xs text-muted tabular-nums">{count.toLocaleString("en")}</span>}
    </>
  );
}

function Loading() {
  return (
    <div role="status" aria-label="Loading the run" className="grid gap-4">
      <Skeleton className="h-5 w-1/2" />
      <Skeleton className="h-4 w-1/3" />
      <Skeleton className="h-80 w-full" />
    </div>
  );
}
