import { expect, test } from "vitest";

import type { IncidentView, QueueView } from "@/api/schema";

import { withIncident } from "./incidents";
import { queueRows } from "./queues";

const incident = (number: number) => ({ number, kind: "process_lost" }) as IncidentView;

test("incidents are told newest first, each once", () => {
  const list = { incidents: [incident(3), incident(1)], next_page_token: "", cursor: "1" };
  expect(withIncident(withIncident(list, incident(2)), incident(3)).incidents.map((each) => each.number)).toEqual([3, 2, 1]);
});

test("queues are a row for each service, those that gave something up first", () => {
  const queue = (service: string, name: string, waiting: number | null, dropped: number | null): QueueView => ({ service, name, waiting, dropped });
  const rows = queueRows([queue("agent", "outbox", 2, null), queue("rag", "spans", null, 4), queue("agent", "brand_new", null, 0)]);
  expect(rows).toEqual([
    { service: "rag", waiting: [], dropped: [{ name: "spans", count: 4 }], droppedCount: 4 },
    { service: "agent", waiting: [{ name: "runs with news", count: 2 }], dropped: [{ name: "brand new", count: 0 }], droppedCount: 0 },
  ]);
  expect(queueRows([])).toEqual([]);
});
