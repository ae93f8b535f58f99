"use client";

import { Route } from "lucide-react";
import { useRouter, useSearchParams } from "next/navigation";
import { useState } from "react";

import { PageHead } from "@/components/ui/Panel";
import { EmptyState } from "@/components/ui/States";

import { AskForm } from "./AskForm";
import { addressOf } from "./fns/ask";
import { Unfolding } from "./Unfolding";

/** Ask something, and see what becomes of it. The run that is shown is in the address. */
export function AskPage() {
  const router = useRouter();
  const runId = useSearchParams().get("run");
  const [threadId, setThreadId] = useState("");
  return (
    <div className="mx-auto max-w-5xl">
      <PageHead title="Ask">The router recommends, the arbitrator decides, services answer. Every step is shown as it happens.</PageHead>
      <AskForm
        threadId={threadId}
        onAsked={(run) => {
          setThreadId(run.thread_id);
          router.push(addressOf(run.run_id), { scroll: false });
        }}
      />
      <div className="mt-5">
        {runId ? (
          <Unfolding key={runId} runId={runId} />
        ) : (
          <EmptyState icon={Route} title="Nothing is asked yet">
            Small talk, a question about your documents, a program to write and run, a sum or a date: the mesh finds who can answer.
          </EmptyState>
        )}
      </div>
    </div>
  );
}
