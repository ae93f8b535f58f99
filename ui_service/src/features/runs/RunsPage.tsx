"use client";

import { useQuery } from "@tanstack/react-query";
import { Activity, Search } from "lucide-react";
import Link from "next/link";
import { useRouter, useSearchParams } from "next/navigation";
import { useEffect, useState } from "react";

import { get } from "@/api/client";
import { Button } from "@/components/ui/Button";
import { FIELD } from "@/components/ui/field";
import { PageHead, Panel } from "@/components/ui/Panel";
import { type Option, Select } from "@/components/ui/Select";
import { SkeletonRows } from "@/components/ui/Skeleton";
import { EmptyState, ErrorState } from "@/components/ui/States";

import { addressWith, isNarrowed, MAX_TEXT, readFilters, STATE_CHOICES } from "./fns/filters";
import { RunRow } from "./RunRow";
import { useRunList } from "./useRunList";

/** All runs, live. */
export function RunsPage() {
  const router = useRouter();
  const query = useSearchParams();
  const filters = readFilters(new URLSearchParams(query));
  const list = useRunList(filters);
  const set = (name: string, value: string) => router.replace(addressWith(new URLSearchParams(query), name, value), { scroll: false });
  return (
    <>
      <PageHead title="Runs">Every pass of a workflow, newest first. The list follows what happens.</PageHead>
      <div role="search" aria-label="Runs" className="mb-4 flex flex-wrap gap-2">
        <TextFilter key={filters.text} text={filters.text} onChange={(text) => set("text", text)} />
        <Select label="State" value={filters.choice} onChange={(value) => set("state", value)} options={STATES} className="w-44 max-sm:flex-1" />
        <NameFilter kind="workflow" value={filters.workflow} onChange={(value) => set("workflow", value)} />
        <NameFilter kind="service" value={filters.service} onChange={(value) => set("service", value)} />
      </div>
      <Panel>
        {list.isPending ? (
          <SkeletonRows rows={8} label="Loading runs" />
        ) : list.isError && !list.runs.length ? (
          <ErrorState error={list.error} onRetry={() => void list.refetch()} />
        ) : !list.runs.length ? (
          <NoRuns isNarrowed={isNarrowed(filters)} />
        ) : (
          <ul aria-label="Runs" className="divide-y divide-line">
            {list.runs.map((run) => (
              <RunRow key={run.run_id} run={run} />
            ))}
          </ul>
        )}
      </Panel>
      {list.hasNextPage && (
        <div className="mt-4 text-center">
          <Button disabled={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>
            {list.isFetchingNextPage ? "Loading …" : "Older runs"}
          </Button>
        </div>
      )}
    </>
  );
}

const STATES: readonly Option[] = [
  { value: "", label: "Every state" },
  ...Object.entries(STATE_CHOICES).map(([value, { label }]) => ({ value, label })),
];
const TYPING_MS = 250;

function TextFilter({ text, onChange }: { text: string; onChange: (text: string) => void }) {
  const [typed, setTyped] = useState(text);
  useEffect(() => {
    if (typed === text) return;
    const timer = setTimeout(() => onChange(typed), TYPING_MS);
    return () => clearTimeout(timer);
  });
  return (
    <div className="relative w-full sm:w-72">
      <Search aria-hidden className="pointer-events-none absolute top-2 left-2.5 size-4 text-muted" />
      <input
        type="search"
        aria-label="Text in the question or the answer"
        placeholder="Search questions and answers"
        data-search
        maxLength={MAX_TEXT}
        value={typed}
        onChange={(event) => setTyped(event.target.value)}
        className={`${FIELD} w-full pl-8`}
      />
    </div>
  );
}

/** A choice among the names that there are now, and the one in the address. */
function NameFilter({ kind, value, onChange }: { kind: "workflow" | "service"; value: string; onChange: (value: string) => void }) {
  const names = useQuery({
    queryKey: ["names", kind],
    queryFn: ({ signal }) => (kind === "workflow" ? workflowNames(signal) : serviceNames(signal)),
  });
  const all = [...new Set([...(names.data ?? []), ...(value ? [value] : [])])].sort();
  const options = [{ value: "", label: `Every ${kind}` }, ...all.map((name) => ({ value: name, label: name }))];
  return <Select label={kind === "workflow" ? "Workflow" : "Service"} value={value} onChange={onChange} options={options} className="w-40 max-sm:flex-1" />;
}

async function workflowNames(signal: AbortSignal): Promise<string[]> {
  return (await get("/api/workflows", { signal })).workflows.map((each) => each.name);
}

async function serviceNames(signal: AbortSignal): Promise<string[]> {
  const { services } = await get("/api/services", { signal });
  return services.filter((each) => each.kind === "capability").map((each) => each.name);
}

function NoRuns({ isNarrowed }: { isNarrowed: boolean }) {
  if (isNarrowed) {
    return (
      <EmptyState icon={Search} title="No run fits the filters">
        <Button asChild className="mt-2">
          <Link href="/runs">Show all runs</Link>
        </Button>
      </EmptyState>
    );
  }
  return (
    <EmptyState icon={Activity} title="No runs yet">
      Ask something on the Ask page, or <code className="font-mono text-xs">waystation ask &quot;…&quot;</code> in a terminal: it appears here at once.
    </EmptyState>
  );
}
