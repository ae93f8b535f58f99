"use client";

import { MessageSquareText } from "lucide-react";
import { useMemo } from "react";

import { EmptyState } from "@/components/ui/States";

import { answerParts } from "../fns/answerParts";
import { hasEnded } from "../fns/runNow";
import type { CitationView, RunView } from "../types";
import { TextBlock } from "./TextBlock";

/** The answer as it grows, and the passages it rests on. */
export function AnswerPanel({ run, citations }: { run: RunView; citations: readonly CitationView[] }) {
  const parts = useMemo(
    () => answerParts(run.answer, new Set(citations.map((each) => each.number))),
    [run.answer, citations],
  );
  if (!run.answer) {
    return (
      <EmptyState icon={MessageSquareText} title={hasEnded(run.state) ? "The run ended without an answer" : "No answer yet"}>
        {hasEnded(run.state) ? "What it did is on the other panels." : "It is written here as soon as the run comes to it."}
      </EmptyState>
    );
  }
  return (
    <div className="grid gap-6 p-4 lg:grid-cols-[minmax(0,1fr)_20rem]">
      <div aria-label="Answer" role="group" className="max-w-3xl min-w-0 leading-6 break-words whitespace-pre-wrap">
        {parts.map((part, index) => {
          if (part.kind === "code") return <TextBlock key={index} value={part.text} label={`Code ${part.language}`} className="my-2" />;
          if (part.kind === "text") return <span key={index}>{part.text}</span>;
          return <Reference key={index} number={part.number} />;
        })}
        {!hasEnded(run.state) && <span aria-hidden className="ml-0.5 inline-block h-4 w-1.5 animate-pulse-slow bg-accent align-text-bottom" />}
      </div>
      {citations.length > 0 && (
        <section aria-label="Sources" className="grid content-start gap-2">
          <h2 className="text-xs font-medium text-muted">Sources</h2>
          {citations.map((citation) => (
            <Source key={`${citation.number}-${citation.source}`} citation={citation} />
          ))}
        </section>
      )}
    </div>
  );
}

function Reference({ number }: { number: number }) {
  function open() {
    const source = document.getElementById(sourceId(number));
    if (source instanceof HTMLDetailsElement) source.open = true;
    source?.scrollIntoView({ block: "nearest" });
    source?.querySelector("summary")?.focus();
  }
  return (
    <button
      type="button"
      aria-label={`Source ${number}`}
      onClick={open}
      className="mx-0.5 rounded bg-accent-soft px-1 align-baseline text-xs font-medium text-accent hover:underline"
    >
      {number}
    </button>
  );
}

function Source({ citation }: { citation: CitationView }) {
  const lines = citation.start_line ? `lines ${citation.start_line}–${citation.end_line}` : citation.page ? `page ${citation.page}` : "";
  return (
    <details id={sourceId(citation.number)} className="min-w-0 rounded-md border border-line px-3 py-2 text-sm">
      <summary className="break-words">
        <span className="mr-1.5 font-medium text-accent">{citation.number}</span>
        {citation.title || citation.source}
      </summary>
      <p className="mt-1 text-xs break-all text-muted">
        {citation.source} {lines}
      </p>
      {citation.quote && <p className="mt-2 border-l-2 border-accent pl-3 break-words whitespace-pre-wrap">{citation.quote}</p>}
    </details>
  );
}

function sourceId(number: number): string {
  return `source-${number}`;
}
