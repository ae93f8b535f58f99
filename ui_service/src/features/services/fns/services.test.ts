import { describe, expect, test } from "vitest";

import type { HealthSample, ServiceList, ServiceView } from "@/api/schema";

import { byNeed, healthSaying } from "./health";
import { pointsOf, withHistory } from "./samples";
import { ceilingOf, linePath } from "./sparkline";

const NOW = Date.parse("2026-11-21T10:00:00Z");

function service(name: string, state: ServiceView["health"]["state"] = "serving", message = "", lease = "2026-11-21T10:00:10Z") {
  return { instance_id: name, name, health: { state, message }, lease_expire_time: lease, history: [] as HealthSample[] } as unknown as ServiceView;
}

describe("a sparkline", () => {
  const box = { width: 100, height: 20 };
  test.each([
    ["no point", [], ""],
    ["one point", [{ at: 5, value: 0 }], "M0 19L100 19"],
    ["equal times", [{ at: 5, value: 1 }, { at: 5, value: 0 }], "M0 19L100 19"],
    ["a rise", [{ at: 0, value: 0 }, { at: 10, value: 1 }], "M0 19L100 1"],
    ["a value that is none", [{ at: 0, value: NaN }, { at: 10, value: Infinity }], "M0 19L100 19"],
  ])("of %s is finite and in its box", (_, points, path) => {
    expect(linePath(points, box, 1)).toBe(path);
  });

  test("reaches as high as its highest point, and no lower than it is told", () => {
    expect(ceilingOf([{ at: 0, value: 3 }], 1)).toBe(3);
    expect(ceilingOf([{ at: 0, value: 0.1 }], 1)).toBe(1);
    expect(ceilingOf([], 0)).toBeGreaterThan(0);
  });
});

test("points are in order, and what was not said is left out", () => {
  const sample = (time_unix_ms: number, cpu: number | null) => ({ time_unix_ms, health: { cpu } }) as HealthSample;
  expect(pointsOf([sample(2, 0.5), sample(1, 0.2), sample(3, null)], "cpu")).toEqual([{ at: 1, value: 0.2 }, { at: 2, value: 0.5 }]);
});

test("a list that is told without history keeps what is known", () => {
  const list = (...services: ServiceView[]) => ({ services, version: 1, cursor: "1" }) as ServiceList;
  const history = [{ time_unix_ms: 1 } as HealthSample];
  const known = list({ ...service("rag"), history });
  expect(withHistory(list(service("rag"), service("new")), known).services.map((each) => each.history)).toEqual([history, []]);
  expect(withHistory(list(service("rag")), undefined).services[0]?.history).toEqual([]);
});

describe("health", () => {
  test("is said in the service's own words where it has some", () => {
    expect(healthSaying(service("rag", "degraded", "The index is stale."), NOW)).toMatchObject({ tone: "warn", why: "The index is stale." });
    expect(healthSaying(service("rag", "degraded"), NOW).why).not.toBe("");
    expect(healthSaying(service("rag"), NOW)).toMatchObject({ tone: "good", why: "" });
  });

  test("is none when the lease has lapsed, whatever was said before", () => {
    expect(healthSaying(service("rag", "serving", "", "2026-11-21T09:59:50Z"), NOW)).toMatchObject({ tone: "bad", label: "No heartbeat" });
    // clocks may differ a little
    expect(healthSaying(service("rag", "serving", "", "2026-11-21T09:59:58Z"), NOW).tone).toBe("good");
  });

  test("puts on top who needs a look", () => {
    const names = byNeed([service("b"), service("c", "draining"), service("a"), service("d", "not_serving"), service("e", "degraded")], NOW);
    expect(names.map((each) => each.name)).toEqual(["d", "e", "c", "a", "b"]);
  });
});
