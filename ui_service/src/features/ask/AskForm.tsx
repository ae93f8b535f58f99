"use client";

import { useMutation, useQuery } from "@tanstack/react-query";
import { CornerDownLeft } from "lucide-react";
import { type FormEvent, type KeyboardEvent, useState } from "react";

import { get, post } from "@/api/client";
import { ApiFailure } from "@/api/failure";
import { keys } from "@/api/keys";
import type { RunStart, RunView } from "@/api/schema";
import { Button } from "@/components/ui/Button";
import { FIELD } from "@/components/ui/field";
import { Select } from "@/components/ui/Select";

import { type Asked, DEFAULT_WORKFLOW, type Effort, EFFORTS, requestOf, workflowChoices } from "./fns/ask";

const EFFORT_OPTIONS = EFFORTS.map((value) => ({ value, label: `${value} effort` }));

export interface AskFormProps {
  /** The conversation of the run that is shown; the next question goes on with it. */
  threadId: string;
  onAsked: (run: RunView) => void;
}

/** A question, and how it is to be answered. */
export function AskForm({ threadId, onAsked }: AskFormProps) {
  const [asked, setAsked] = useState<Asked>({ query: "", workflow: DEFAULT_WORKFLOW, effort: "medium", threadId: "" });
  const [shownThread, setShownThread] = useState(threadId);
  const [problem, setProblem] = useState("");
  if (shownThread !== threadId) {
    setShownThread(threadId);
    setAsked({ ...asked, threadId });
  }
  const workflows = useQuery({
    queryKey: keys.workflows,
    queryFn: ({ signal }) => get("/api/workflows", { signal }),
    select: (found) => found.workflows.filter((each) => each.problems.length === 0).map((each) => each.name),
  });
  const start = useMutation({
    mutationFn: (body: RunStart) => post("/api/runs", { body }),
    // the same request again is the same run
    retry: (failures, error) => failures < 2 && ApiFailure.from(error).isPassing,
    onSuccess: ({ run }) => {
      setAsked((before) => ({ ...before, query: "" }));
      onAsked(run);
    },
  });
  const change = (part: Partial<Asked>) => setAsked((before) => ({ ...before, ...part }));
  function submit(event?: FormEvent) {
    event?.preventDefault();
    if (start.isPending) return;
    const request = requestOf(asked, crypto.randomUUID());
    setProblem("problem" in request ? request.problem : "");
    if ("body" in request) start.mutate(request.body);
  }
  function onKeyDown(event: KeyboardEvent) {
    if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) {
      event.preventDefault();
      submit();
    }
  }
  const options = workflowChoices(workflows.data ?? []).map((name) => ({ value: name, label: `workflow ${name}` }));
  const failure = start.error ? ApiFailure.from(start.error) : null;
  return (
    <form onSubmit={submit} aria-label="Ask" className="rounded-lg border border-line-strong bg-surface shadow-sm focus-within:border-accent">
      <textarea
        aria-label="Question"
        placeholder="Ask the mesh something …"
        data-search
        autoFocus
        rows={3}
        value={asked.query}
        onChange={(event) => change({ query: event.target.value })}
        onKeyDown={onKeyDown}
        className="field-sizing-content block max-h-80 min-h-20 w-full resize-none rounded-t-lg bg-transparent px-4 py-3 text-base outline-none placeholder:text-muted"
      />
      {(problem || failure) && (
        <p role="alert" className="mx-4 mb-2 text-sm break-words text-bad">
          {problem || `${failure?.message} ${failure?.remedy}`}
        </p>
      )}
      <div className="flex flex-wrap items-center gap-2 border-t border-line px-3 py-2.5">
        <Select label="Workflow" value={asked.workflow} onChange={(workflow) => change({ workflow })} options={options} className="max-w-52" />
        <Select label="Effort" value={asked.effort} onChange={(effort) => change({ effort: effort as Effort })} options={EFFORT_OPTIONS} />
        <input
          aria-label="Thread"
          placeholder="new thread"
          title="The conversation that the question goes on with; empty begins a new one."
          maxLength={128}
          value={asked.threadId}
          onChange={(event) => change({ threadId: event.target.value })}
          className={`${FIELD} w-40 font-mono text-xs`}
        />
        <Button type="submit" variant="primary" disabled={start.isPending} className="ml-auto">
          {start.isPending ? "Asking …" : "Ask"}
          <CornerDownLeft aria-hidden className="size-3.5" />
        </Button>
      </div>
    </form>
  );
}
