"use client";

import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { GitFork, History, Play } from "lucide-react";
import { useState } from "react";

import { get } from "@/api/client";
import { keys } from "@/api/keys";
import { Button } from "@/components/ui/Button";
import { SkeletonRows } from "@/components/ui/Skeleton";
import { EmptyState, ErrorState } from "@/components/ui/States";
import { Table, Td, Th } from "@/components/ui/Table";

import { bytes } from "../fns/format";
import type { Story } from "../fns/runLog";
import type { RunActions } from "../hooks/useRunActions";
import type { CheckpointView, RunView } from "../types";
import { ForkDialog } from "./ForkDialog";
import { StateDiffTable } from "./StateDiffTable";

const PAGE_SIZE = 200;

/** The run's history: what was committed after each step, what changed, and where to go on from. */
export function CheckpointsPanel({ run, story, actions }: { run: RunView; story: Story; actions: RunActions }) {
  const query = useQuery({
    // steps are told one by one, or by what they did
    queryKey: [...keys.run(run.run_id), "checkpoints", run.state, story.checkpoints.length, story.decisions.length, story.hops.length],
    queryFn: ({ signal }) =>
      get("/api/runs/{run_id}/checkpoints", { path: { run_id: run.run_id }, query: { has_state: true, page_size: PAGE_SIZE }, signal }),
    placeholderData: keepPreviousData,
  });
  const [chosen, setChosen] = useState<{ from?: string; to?: string }>({});
  const [forkFrom, setForkFrom] = useState<CheckpointView | null>(null);
  if (query.isPending) return <SkeletonRows rows={5} label="Loading checkpoints" />;
  if (!query.data) return <ErrorState error={query.error} onRetry={() => void query.refetch()} />;
  const { checkpoints } = query.data;
  const find = (id: string | undefined) => checkpoints.find((each) => each.checkpoint_id === id);
  const to = find(chosen.to) ?? checkpoints[0];
  if (!to) {
    return (
      <EmptyState icon={History} title="Nothing is committed yet">
        After each step the run&apos;s state is stored here.
      </EmptyState>
    );
  }
  const hasSizes = checkpoints.some((each) => each.size_bytes > 0);
  const from = find(chosen.from) ?? find(to.parent_checkpoint_id) ?? to;
  return (
    <>
      <Table label="Checkpoints">
        <thead>
          <tr>
            <Th>From</Th>
            <Th>To</Th>
            <Th>Step</Th>
            <Th>Next</Th>
            <Th>Committed</Th>
            {hasSizes && <Th className="text-right">Size</Th>}
            <Th>
              <span className="sr-only">Actions</span>
            </Th>
          </tr>
        </thead>
        <tbody>
          {checkpoints.map((each, index) => (
            <tr key={each.checkpoint_id} className="h-12 hover:bg-hover *:align-middle">
              {(["from", "to"] as const).map((end) => (
                <Td key={end}>
                  <input
                    type="radio"
                    name={`diff-${end}`}
                    aria-label={`Compare ${end} step ${each.step}`}
                    checked={(end === "from" ? from : to).checkpoint_id === each.checkpoint_id}
                    onChange={() => setChosen({ from: from.checkpoint_id, to: to.checkpoint_id, [end]: each.checkpoint_id })}
                    className="block accent-(--accent)"
                  />
                </Td>
              ))}
              <Td className="tabular-nums">{each.step < 0 ? "input" : each.step}</Td>
              <Td className="max-w-64 break-words">{each.next_nodes.join(", ") || "the end"}</Td>
              <Td className="whitespace-nowrap tabular-nums">{each.create_time && new Date(each.create_time).toLocaleTimeString()}</Td>
              {hasSizes && <Td className="text-right whitespace-nowrap tabular-nums">{bytes(each.size_bytes)}</Td>}
              <Td>
                <div className="flex justify-end gap-2">
                  {index === 0 && run.state === "paused" && (
                    <Button variant="primary" disabled={actions.control.isPending} onClick={() => actions.control.mutate("resume")}>
                      <Play aria-hidden className="size-3.5" />
                      Resume
                    </Button>
                  )}
                  {each.next_nodes.length > 0 && (
                    <Button aria-label={`Fork from step ${each.step}`} onClick={() => setForkFrom(each)}>
                      <GitFork aria-hidden className="size-3.5" />
                      Fork
                    </Button>
                  )}
                </div>
              </Td>
            </tr>
          ))}
        </tbody>
      </Table>
      <StateDiffTable from={from} to={to} />
      {forkFrom && <ForkDialog checkpoint={forkFrom} query={run.query} actions={actions} onClose={() => setForkFrom(null)} />}
    </>
  );
}
