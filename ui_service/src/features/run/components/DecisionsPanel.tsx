"use client";

import { GitBranch } from "lucide-react";
import { useMemo } from "react";

import { cn } from "@/components/cn";
import { Badge, type Tone } from "@/components/ui/Badge";
import { EmptyState } from "@/components/ui/States";

import { agreementOf, agrees, confidenceIn } from "../fns/agreement";
import { count, duration, percent } from "../fns/format";
import { type Happening, happeningsOf } from "../fns/happenings";
import type { Decided, Intervention, Story } from "../fns/runLog";
import type { RecommendationView } from "../types";
import { HopCard } from "./HopCard";
import { TextBlock } from "./TextBlock";

const SOURCES: Record<Decided["source"], { label: string; tone: Tone }> = {
  unspecified: { label: "unknown", tone: "neutral" },
  model: { label: "decided by the model", tone: "accent" },
  policy: { label: "decided by policy", tone: "good" },
  fallback: { label: "fallback: the model failed", tone: "warn" },
  guardian: { label: "forced by a guardian", tone: "bad" },
};

/** What the router recommended, what was decided and by what, and what came of it. */
export function DecisionsPanel({ story }: { story: Story }) {
  const happenings = useMemo(() => happeningsOf(story), [story]);
  const agreement = agreementOf(story.decisions);
  if (!happenings.length) {
    return (
      <EmptyState icon={GitBranch} title="Nothing is decided yet">
        The router recommends first, then the arbitrator decides.
      </EmptyState>
    );
  }
  return (
    <div className="p-4">
      <p className="mb-4 text-sm text-muted">
        {agreement.compared
          ? `The arbitrator chose what the router recommended in ${agreement.agreed} of ${count(agreement.compared, "decision")} (${percent(agreement.share)}).`
          : story.decisions.length
            ? "No decision could be compared with a recommendation yet."
            : "The workflow's own rules say what comes next; nothing had to be decided."}
      </p>
      <ol className="grid gap-3">
        {happenings.map((each) => (
          <li key={`${each.kind}-${each.sequence}`} className="min-w-0">
            <Happened happening={each} />
          </li>
        ))}
      </ol>
    </div>
  );
}

function Happened({ happening }: { happening: Happening }) {
  switch (happening.kind) {
    case "decision":
      return <DecisionCard decision={happening.decision} isFirst={happening.isFirst} />;
    case "hop":
      return <HopCard hop={happening.hop} />;
    case "intervention":
      return <InterventionCard intervention={happening.intervention} />;
    case "recommendation":
      return (
        <div className="rounded-md border border-line p-4">
          <p className="mb-3 font-medium">The router recommends {happening.recommendation.top || "nothing"}</p>
          <Candidates recommendation={happening.recommendation} chosen="" />
        </div>
      );
  }
}

function DecisionCard({ decision, isFirst }: { decision: Decided; isFirst: boolean }) {
  const verdict = agrees(decision);
  const source = SOURCES[decision.source];
  const recommended = decision.recommendation?.top;
  return (
    <div data-decision className="grid gap-4 rounded-md border border-line p-4 md:grid-cols-2">
      <div className="min-w-0">
        <p className="flex flex-wrap items-center gap-2">
          <span className="font-semibold break-words">{chosen(decision)}</span>
          <Badge tone={source.tone}>{source.label}</Badge>
          {verdict !== null && <Badge tone={verdict ? "good" : "warn"}>{verdict ? "as recommended" : "overrides the router"}</Badge>}
        </p>
        {decision.reason && <p className="mt-2 text-sm break-words whitespace-pre-wrap">{decision.reason}</p>}
        <p className="mt-2 text-sm text-muted">
          {isFirst && (recommended ? `Recommended ${recommended}, ${percent(confidenceIn(decision, recommended))} sure. ` : "The router abstained. ")}
          {count(decision.remaining_hops, "hop")} may follow. Took {duration(decision.latency_ms)}.
        </p>
      </div>
      {isFirst && decision.recommendation && <Candidates recommendation={decision.recommendation} chosen={decision.capability} />}
    </div>
  );
}

function chosen(decision: Decided): string {
  if (decision.action === "call") return `Call ${decision.capability}${decision.role && decision.role !== decision.capability ? ` as ${decision.role}` : ""}`;
  return { answer: "Answer", clarify: "Ask what is meant", unspecified: "Unknown" }[decision.action];
}

/** A bar for each service that the router named. */
function Candidates({ recommendation, chosen }: { recommendation: RecommendationView; chosen: string }) {
  if (!recommendation.candidates.length) return <p className="text-sm text-muted">The router named no service.</p>;
  return (
    <dl className="grid min-w-0 content-start gap-1.5 text-sm">
      {recommendation.candidates.slice(0, 8).map(({ service, confidence, matched_tags }) => (
        <div key={service} className="grid grid-cols-[minmax(4rem,7rem)_1fr_2.75rem] items-center gap-2">
          <dt className={cn("truncate", service === chosen && "font-semibold")} title={[service, ...matched_tags].join(" · ")}>
            {service}
          </dt>
          <dd aria-hidden className="h-2 overflow-hidden rounded-full bg-hover">
            <div
              className={cn("h-full rounded-full", service === recommendation.top ? "bg-accent" : "bg-line-strong")}
              style={{ width: `${Math.min(100, Math.max(0, confidence * 100))}%` }}
            />
          </dd>
          <dd className="text-right text-muted tabular-nums">{percent(confidence)}</dd>
        </div>
      ))}
    </dl>
  );
}

function InterventionCard({ intervention }: { intervention: Intervention }) {
  return (
    <div className="grid gap-2 rounded-md border border-warn p-4">
      <p className="font-medium break-words">
        {intervention.actor}: {intervention.action.replaceAll("_", " ")}
      </p>
      <p className="text-sm break-words">{intervention.reason}</p>
      {Object.keys(intervention.after).length > 0 && <TextBlock value={intervention.after} label="What it changed" />}
    </div>
  );
}
