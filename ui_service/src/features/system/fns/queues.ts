/** Queues as a table has them: a row for each service. Pure. */
import type { QueueView } from "@/api/schema";

const NAMES: Record<string, string> = {
  spans: "spans",
  span_starts: "starts of spans",
  logs: "log records",
  outbox: "runs with news",
  forwarded_traces: "spans to pass on",
  forwarded_metrics: "metrics to pass on",
  forwarded_logs: "log records to pass on",
};

export interface Gauge {
  name: string;
  count: number;
}

export interface QueueRow {
  service: string;
  waiting: Gauge[];
  dropped: Gauge[];
  /** How much was given up, over all its queues. */
  droppedCount: number;
}

/** Services that gave something up first, then by name; a figure that nobody says is left out. */
export function queueRows(queues: readonly QueueView[]): QueueRow[] {
  const services = [...new Set(queues.map((queue) => queue.service))];
  const rows = services.map((service) => {
    const own = queues.filter((queue) => queue.service === service);
    const dropped = gauges(own, "dropped");
    return { service, waiting: gauges(own, "waiting"), dropped, droppedCount: dropped.reduce((sum, each) => sum + each.count, 0) };
  });
  return rows.sort((a, b) => Number(b.droppedCount > 0) - Number(a.droppedCount > 0) || a.service.localeCompare(b.service));
}

function gauges(queues: readonly QueueView[], figure: "waiting" | "dropped"): Gauge[] {
  return queues.flatMap((queue) => {
    const count = queue[figure];
    return count === null ? [] : [{ name: NAMES[queue.name] ?? queue.name.replaceAll("_", " "), count }];
  });
}
