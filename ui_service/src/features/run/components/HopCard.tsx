import { Badge, type Tone } from "@/components/ui/Badge";

import { count, duration } from "../fns/format";
import type { Hop, ToolUse } from "../fns/runLog";
import { TextBlock } from "./TextBlock";

/** One call to a capability: what it was asked, what it did, what came of it. */
export function HopCard({ hop }: { hop: Hop }) {
  const tokens = (hop.usage?.input_tokens ?? 0) + (hop.usage?.output_tokens ?? 0);
  const made = [
    hop.tools.length && count(hop.tools.length, "tool call"),
    hop.artifacts.length && count(hop.artifacts.length, "artifact"),
    hop.citations.length && count(hop.citations.length, "source"),
    tokens && count(tokens, "token"),
  ].filter(Boolean);
  return (
    <div data-hop={hop.index} className="rounded-md border border-line bg-sunken p-4">
      <p className="flex flex-wrap items-center gap-2">
        <span className="font-semibold break-words">
          Hop {hop.index + 1}: {hop.capability}
          {hop.role && hop.role !== hop.capability && <span className="font-normal text-muted"> as {hop.role}</span>}
        </span>
        <Outcome hop={hop} />
        {hop.isReplayed && <Badge>from the ledger</Badge>}
        {hop.begunCount > 1 && <Badge tone="warn">begun {hop.begunCount} times</Badge>}
        <span className="ml-auto text-sm text-muted tabular-nums">{hop.durationMs === null ? "" : duration(hop.durationMs)}</span>
      </p>
      {hop.task && <p className="mt-2 line-clamp-3 text-sm break-words text-muted">{hop.task}</p>}
      {hop.error && (
        <p className="mt-2 text-sm break-words text-bad">
          {hop.error.message} {hop.error.remedy}
        </p>
      )}
      {made.length > 0 && <p className="mt-2 text-sm text-muted">{made.join(" · ")}</p>}
      {hop.text.text && (
        <details className="mt-2 text-sm" open={!hop.endTime}>
          <summary className="text-muted">Text</summary>
          <TextBlock value={hop.text.text} label="Text of the hop" className="mt-2 bg-surface font-sans text-sm" />
        </details>
      )}
      {hop.tools.map((tool) => (
        <ToolCall key={tool.id} tool={tool} />
      ))}
    </div>
  );
}

function Outcome({ hop }: { hop: Hop }) {
  if (!hop.endTime) {
    return (
      <Badge tone="accent" dot isBeating>
        works
      </Badge>
    );
  }
  const tone: Tone = hop.error ? "bad" : hop.outcome === "answered" ? "good" : "warn";
  return <Badge tone={tone}>{hop.error ? hop.error.reason : hop.outcome.replaceAll("_", " ")}</Badge>;
}

function ToolCall({ tool }: { tool: ToolUse }) {
  return (
    <details className="mt-2 text-sm">
      <summary className="break-words">
        <span className="font-mono text-xs">{tool.name}</span>{" "}
        <span className={tool.isError ? "text-bad" : "text-muted"}>
          {tool.content === null ? "works" : tool.isError ? "failed" : "returned"}
        </span>
      </summary>
      <div className="mt-2 grid gap-2">
        <TextBlock value={tool.arguments} label={`Arguments of ${tool.name}`} className="bg-surface" />
        {tool.content !== null && <TextBlock value={tool.content} label={`Result of ${tool.name}`} className="bg-surface" />}
      </div>
    </details>
  );
}
