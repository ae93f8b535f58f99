/** Queues as a table has them. Pure. */
import type { QueueView } from "@/api/schema";

const NAMES: Record<string, string> = {
  spans: "Spans",
  span_starts: "Starts of spans",
  logs: "Log records",
  outbox: "Runs with news for control",
  forwarded_traces: "Spans to pass on",
  forwarded_metrics: "Metrics to pass on",
  forwarded_logs: "Log records to pass on",
};

export interface QueueRow {
  key: string;
  service: string;
  label: string;
  waiting: number | null;
  dropped: number | null;
  /** Something was given up. */
  isBad: boolean;
}

/** Those that dropped something or hold something first, then by service. */
export function queueRows(queues: readonly QueueView[]): QueueRow[] {
  const rows = queues.map(({ service, name, waiting, dropped }) => ({
    key: `${service}/${name}`,
    service,
    label: NAMES[name] ?? name.replaceAll("_", " "),
    waiting,
    dropped,
    isBad: (dropped ?? 0) > 0,
  }));
  const rank = (row: QueueRow) => (row.isBad ? 0 : (row.waiting ?? 0) > 0 ? 1 : 2);
  return rows.sort((a, b) => rank(a) - rank(b) || a.service.localeCompare(b.service) || a.label.localeCompare(b.label));
}
