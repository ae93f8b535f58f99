"use client";

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useRouter } from "next/navigation";

import { post } from "@/api/client";
import { ApiFailure } from "@/api/failure";
import { useToast } from "@/components/ui/Toast";

import type { Control } from "../fns/runNow";
import type { RunView } from "../types";
import { takeRun } from "./useRun";

const DONE: Record<Control, string> = {
  cancel: "The run is cancelled.",
  pause: "The run pauses at its next step.",
  resume: "The run goes on.",
};

/** What can be done with a run. Each wish has an id of its own, so that it can be sent again safely. */
export function useRunActions(runId: string) {
  const client = useQueryClient();
  const router = useRouter();
  const say = useToast();
  const onError = (error: unknown) => {
    const { message, remedy } = ApiFailure.from(error);
    say({ title: message, detail: remedy, isBad: true });
  };
  const path = { run_id: runId };
  const control = useMutation({
    mutationFn: (wish: Control): Promise<RunView> => {
      const body = { request_id: crypto.randomUUID() };
      if (wish === "cancel") return post("/api/runs/{run_id}/cancel", { path, body: { ...body, message: "" } });
      return wish === "pause" ? post("/api/runs/{run_id}/pause", { path, body }) : post("/api/runs/{run_id}/resume", { path, body });
    },
    onSuccess: (run, wish) => {
      takeRun(client, run);
      say({ title: DONE[wish] });
    },
    onError,
  });
  const answer = useMutation({
    mutationFn: ({ questionId, value }: { questionId: string; value: unknown }): Promise<RunView> =>
      post("/api/runs/{run_id}/answers", {
        path,
        body: { question_id: questionId, answer: value as never, request_id: crypto.randomUUID() },
      }),
    onSuccess: (run) => takeRun(client, run),
    onError,
  });
  const fork = useMutation({
    mutationFn: ({ checkpointId, query }: { checkpointId: string; query: string }): Promise<RunView> =>
      post("/api/runs/{run_id}/forks", {
        path,
        body: { checkpoint_id: checkpointId, updates: query ? { query } : {}, request_id: crypto.randomUUID() },
      }),
    onSuccess: (run) => {
      takeRun(client, run);
      router.push(`/runs/${encodeURIComponent(run.run_id)}`);
    },
    onError,
  });
  return { control, answer, fork };
}

export type RunActions = ReturnType<typeof useRunActions>;
