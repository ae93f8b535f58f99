"use client";

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { get, put } from "@/api/client";
import { ApiFailure } from "@/api/failure";
import { keys } from "@/api/keys";
import type { ModeView } from "@/api/schema";
import { Badge } from "@/components/ui/Badge";
import { Button } from "@/components/ui/Button";
import { Panel } from "@/components/ui/Panel";
import { Select } from "@/components/ui/Select";
import { Skeleton } from "@/components/ui/Skeleton";
import { ErrorState } from "@/components/ui/States";
import { useToast } from "@/components/ui/Toast";
import { useClock } from "@/components/useClock";
import { countdown, momentOf, wholeMoment } from "@/format/time";

const LENGTHS = [
  { value: "600", label: "for 10 minutes" },
  { value: "3600", label: "for an hour" },
  { value: "86400", label: "for a day" },
  { value: "", label: "until it is set again" },
];

/** How much the mesh says of itself: what is in force, until when, and a switch. */
export function ModePanel() {
  const query = useQuery({ queryKey: keys.mode, queryFn: ({ signal }) => get("/api/mode", { signal }) });
  return (
    <Panel title="Observability mode" className="xl:col-span-2">
      {query.data ? (
        <Mode mode={query.data} />
      ) : query.isError ? (
        <ErrorState error={query.error} onRetry={() => void query.refetch()} />
      ) : (
        <div className="p-4">
          <Skeleton className="h-10 w-2/3" />
        </div>
      )}
    </Panel>
  );
}

const MEANINGS = {
  shipping: "Spans only. Prompts and outputs stay out of telemetry.",
  debug: "Spans with prompts and outputs, metrics and logs.",
};

function Mode({ mode }: { mode: ModeView }) {
  const [length, setLength] = useState("600");
  const change = useChange();
  const isDebug = mode.mode === "debug";
  function turn() {
    if (isDebug) change.mutate({ mode: "shipping" });
    else change.mutate({ mode: "debug", ...(length ? { duration_s: Number(length) } : {}) });
  }
  return (
    <div className="flex flex-wrap items-center gap-x-6 gap-y-4 px-4 py-4" data-mode={mode.mode}>
      <div className="min-w-0 flex-1 basis-72">
        <p className="flex flex-wrap items-center gap-2">
          <Badge tone={isDebug ? "warn" : "good"} dot isBeating={isDebug}>
            {isDebug ? "Debug" : "Shipping"}
          </Badge>
          <Until mode={mode} />
        </p>
        <p className="mt-1.5 text-sm text-muted">{MEANINGS[mode.mode]}</p>
        {mode.cause === "crash" && (
          <p className="mt-1 text-sm text-warn">A crash laid this over the mode that was set, which is {mode.set_mode}.</p>
        )}
      </div>
      <div className="flex flex-wrap items-center gap-2">
        {!isDebug && <Select label="How long debug lasts" value={length} onChange={setLength} options={LENGTHS} className="w-44" />}
        <Button variant={isDebug ? "secondary" : "primary"} disabled={change.isPending} onClick={turn}>
          {isDebug ? "Back to shipping" : "Turn debug on"}
        </Button>
      </div>
    </div>
  );
}

function Until({ mode }: { mode: ModeView }) {
  const now = useClock();
  const until = momentOf(mode.expire_time);
  if (until === null) return <span className="text-sm text-muted">until it is set again</span>;
  return (
    <span className="text-sm tabular-nums" title={wholeMoment(until)}>
      {countdown(until, now)} <span className="text-muted">left</span>
    </span>
  );
}

function useChange() {
  const client = useQueryClient();
  const say = useToast();
  return useMutation({
    mutationFn: (choice: { mode: ModeView["mode"]; duration_s?: number }) =>
      put("/api/mode", { body: { ...choice, actor: "dashboard", reason: "switched on the System page" } }),
    onSuccess: (mode) => {
      client.setQueryData(keys.mode, mode);
      say({ title: `The mode is ${mode.mode} now.`, detail: "All processes follow within a moment." });
    },
    onError: (error) => {
      const failure = ApiFailure.from(error);
      say({ title: failure.message, detail: failure.remedy, isBad: true });
    },
  });
}
