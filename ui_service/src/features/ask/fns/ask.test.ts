import { expect, test } from "vitest";

import { addressOf, type Asked, MAX_QUERY_BYTES, requestOf, workflowChoices } from "./ask";

const ASKED: Asked = { query: " why? ", workflow: "auto", effort: "low", threadId: " t " };

test("a request has what was asked, and an id so that it can be sent again", () => {
  expect(requestOf(ASKED, "id-1")).toEqual({
    body: { query: "why?", workflow: "auto", effort: "low", thread_id: "t", tenant: "", request_id: "id-1", run_timeout_s: null },
  });
});

test.each([
  ["nothing", "  \n "],
  ["too many bytes", "é".repeat(MAX_QUERY_BYTES / 2 + 1)],
])("a question of %s is not sent", (_, query) => {
  expect(requestOf({ ...ASKED, query }, "id-1")).toHaveProperty("problem");
});

test("the default workflow comes first, and is there when nobody tells", () => {
  expect(workflowChoices([])).toEqual(["auto"]);
  expect(workflowChoices(["review", "auto", "pipeline"])).toEqual(["auto", "pipeline", "review"]);
});

test("a run's address takes any id", () => {
  expect(addressOf("a&b")).toBe("/ask?run=a%26b");
});
