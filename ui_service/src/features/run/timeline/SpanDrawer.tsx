"use client";

import { Copy, X } from "lucide-react";
import type { ReactNode } from "react";

import { cn } from "@/components/cn";
import { Badge, type Tone } from "@/components/ui/Badge";
import { Button } from "@/components/ui/Button";
import { useToast } from "@/components/ui/Toast";

import { timeOnPath, type Section } from "../fns/criticalPath";
import { duration, shown } from "../fns/format";
import { durationOf } from "../fns/geometry";
import { spanKey } from "../fns/spanSet";
import type { SpanView } from "../types";

const TONES: Record<SpanView["state"], Tone> = { running: "accent", ok: "good", error: "bad", lost: "bad" };

export interface SpanDrawerProps {
  span: SpanView;
  nowMs: number;
  traceStartMs: number;
  sections: readonly Section[];
  isKnown: (key: string) => boolean;
  onGoTo: (key: string) => void;
  onClose: () => void;
}

/** Everything about one span, as text: names and values are strangers' data. */
export function SpanDrawer({ span, nowMs, traceStartMs, sections, isKnown, onGoTo, onClose }: SpanDrawerProps) {
  const attributes = Object.entries(span.attributes).sort(([a], [b]) => (a < b ? -1 : 1));
  return (
    <aside
      aria-label={`Span ${span.name}`}
      className="fixed inset-x-0 bottom-0 z-40 flex max-h-[75dvh] flex-col rounded-t-lg border-t border-line bg-raised shadow-pop lg:sticky lg:top-4 lg:z-auto lg:max-h-[calc(100dvh-2rem)] lg:self-start lg:rounded-none lg:border-t-0 lg:border-l lg:shadow-none"
    >
      <header className="flex items-start gap-2 border-b border-line px-4 py-3">
        <div className="min-w-0">
          <h2 className="font-semibold break-words">{span.name}</h2>
          <p className="mt-1 flex flex-wrap items-center gap-x-2 gap-y-1 text-sm text-muted">
            <Badge tone={TONES[span.state]} dot isBeating={span.state === "running"}>
              {span.state}
            </Badge>
            <span className="tabular-nums">{duration(durationOf(span, nowMs))}</span>
            <span className="break-all">{span.service}</span>
          </p>
        </div>
        <div className="-mr-2 ml-auto flex">
          <CopyButton span={span} />
          <Button variant="ghost" size="icon" aria-label="Close details" title="Close (Esc)" onClick={onClose}>
            <X aria-hidden className="size-4" />
          </Button>
        </div>
      </header>
      <div tabIndex={0} role="group" aria-label="Details" className="grid min-h-0 flex-1 content-start gap-5 overflow-y-auto px-4 py-4 text-sm">
        {span.status_message && <p className="rounded bg-bad-soft px-3 py-2 break-words text-bad">{span.status_message}</p>}
        <Facts
          facts={[
            ["Starts at", `+${duration(Math.max(0, span.start_unix_ms - traceStartMs))}`],
            ["Began", new Date(span.start_unix_ms).toLocaleString()],
            ["On the critical path", duration(timeOnPath(sections, nowMs))],
            ["Kind", span.kind],
            ["Process", span.instance_id],
            ["Span id", span.span_id],
            ["Trace id", span.trace_id],
            ["Correlation id", span.correlation_id ?? ""],
          ]}
        />
        <Part title="Attributes" count={attributes.length}>
          <Facts facts={attributes.map(([name, value]) => [name, shown(value, 4_000)])} isMono />
        </Part>
        <Part title="Events" count={span.events.length}>
          {span.events.map((event, index) => (
            <details key={index} className="rounded border border-line px-3 py-1.5" open={span.events.length === 1}>
              <summary className="break-words">
                {event.name}{" "}
                <span className="text-muted tabular-nums">+{duration(Math.max(0, event.time_unix_ms - span.start_unix_ms))}</span>
              </summary>
              <div className="mt-2">
                <Facts facts={Object.entries(event.attributes).map(([name, value]) => [name, shown(value, 12_000)])} isMono />
              </div>
            </details>
          ))}
        </Part>
        <Part title="Links" count={span.links.length}>
          {span.links.map((link) => (
            <Link key={spanKey(link)} link={link} isKnown={isKnown(spanKey(link))} onGoTo={onGoTo} />
          ))}
        </Part>
      </div>
    </aside>
  );
}

function Link({ link, isKnown, onGoTo }: { link: SpanView["links"][number]; isKnown: boolean; onGoTo: (key: string) => void }) {
  const kind = String(link.attributes["link.kind"] ?? "linked span").replaceAll("_", " ");
  return isKnown ? (
    <Button onClick={() => onGoTo(spanKey(link))} className="justify-self-start">
      Go to {kind}
    </Button>
  ) : (
    <p className="break-all text-muted">
      {kind}: {link.span_id}, which is not here
    </p>
  );
}

function Part({ title, count, children }: { title: string; count: number; children: ReactNode }) {
  if (!count) return null;
  return (
    <section className="grid gap-2">
      <h3 className="text-xs font-medium text-muted">
        {title} ({count})
      </h3>
      {children}
    </section>
  );
}

function Facts({ facts, isMono }: { facts: readonly (readonly [string, string])[]; isMono?: boolean }) {
  return (
    <dl className="grid min-w-0 gap-y-2">
      {facts
        .filter(([, value]) => value)
        .map(([name, value]) => (
          <div key={name} className={cn("min-w-0", !isMono && "grid grid-cols-[9rem_minmax(0,1fr)] gap-x-3")}>
            <dt className={cn("wrap-anywhere text-muted", isMono && "text-xs")}>{name}</dt>
            <dd className={cn("wrap-anywhere", isMono && "font-mono text-xs leading-5 whitespace-pre-wrap")}>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

function CopyButton({ span }: { span: SpanView }) {
  const say = useToast();
  async function copy() {
    try {
      await navigator.clipboard.writeText(JSON.stringify(span, null, 2));
      say({ title: "The span is copied as JSON." });
    } catch {
      say({ title: "The browser does not let this page copy.", isBad: true });
    }
  }
  return (
    <Button variant="ghost" size="icon" aria-label="Copy the span as JSON" title="Copy as JSON" onClick={() => void copy()}>
      <Copy aria-hidden className="size-4" />
    </Button>
  );
}
