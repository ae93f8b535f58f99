"use client";

import { Box } from "lucide-react";
import { useMemo } from "react";

import { Badge } from "@/components/ui/Badge";
import { EmptyState } from "@/components/ui/States";

import { type ArtifactGroup, artifactGroups, executionOf } from "../fns/artifactGroups";
import { bytes } from "../fns/format";
import type { Hop } from "../fns/runLog";
import type { ArtifactView } from "../types";
import { TextBlock } from "./TextBlock";

/** What the run made: code with what running it printed, reports, files. */
export function ArtifactsPanel({ hops }: { hops: readonly Hop[] }) {
  const groups = useMemo(() => artifactGroups(hops), [hops]);
  if (!groups.length) {
    return (
      <EmptyState icon={Box} title="The run has made nothing yet">
        Code, the output of programs, reports and files are shown here.
      </EmptyState>
    );
  }
  return (
    <div className="grid gap-4 p-4">
      {groups.map((group) => (
        <Artifact key={`${group.hop.index}-${group.artifact.artifact_id}`} group={group} />
      ))}
    </div>
  );
}

function Artifact({ group: { hop, artifact, runs } }: { group: ArtifactGroup }) {
  return (
    <article aria-label={artifact.name} className="grid min-w-0 gap-3 rounded-md border border-line p-4">
      <p className="flex flex-wrap items-center gap-2">
        <span className="font-semibold break-all">{artifact.name || artifact.artifact_id}</span>
        <Badge>{artifact.kind}</Badge>
        <span className="text-sm break-words text-muted">
          hop {hop.index + 1}, {hop.role || hop.capability}
          {artifact.media_type && ` · ${artifact.media_type}`}
        </span>
      </p>
      {artifact.kind !== "run" && <Content artifact={artifact} />}
      {runs.map((run) => (
        <Execution key={run.artifact_id} artifact={run} />
      ))}
    </article>
  );
}

function Content({ artifact }: { artifact: ArtifactView }) {
  if (artifact.text) return <TextBlock value={laidOut(artifact)} label={artifact.name} />;
  const size = Math.floor((artifact.data.length * 3) / 4);
  return <p className="text-sm text-muted">{size ? `${bytes(size)} that are not text` : "Empty"}</p>;
}

/** JSON with a field on each line. */
function laidOut({ media_type, text }: ArtifactView): unknown {
  if (media_type !== "application/json") return text;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function Execution({ artifact }: { artifact: ArtifactView }) {
  const execution = executionOf(artifact);
  if (!execution) return <Content artifact={artifact} />;
  const isGood = execution.exitCode === "0";
  return (
    <div className="grid gap-2">
      <p className="flex flex-wrap items-center gap-2 text-sm">
        Run <Badge tone={isGood ? "good" : "bad"}>{execution.state.replaceAll("_", " ") || "ended"}</Badge>
        <span className="text-muted">exit code {execution.exitCode || "–"}</span>
      </p>
      {execution.stdout && <TextBlock value={execution.stdout} label="Standard output" />}
      {execution.stderr && <TextBlock value={execution.stderr} label="Standard error" className="text-bad" />}
      {!execution.stdout && !execution.stderr && <p className="text-sm text-muted">It printed nothing.</p>}
    </div>
  );
}
