import { describe, expect, it } from "vitest";

import { answerOf, formOf } from "./schemaForm";

const answer = (schema: unknown, filled: Record<string, string>) => answerOf(formOf(schema), filled);

describe("a form", () => {
  it.each([
    [{ enum: ["repeat", "skip"] }, { "": "1" }, "skip"],
    [{ enum: [1, null, true] }, { "": "1" }, null],
    [{ oneOf: [{ const: "a", title: "First" }, { const: "b" }] }, { "": "0" }, "a"],
    [{ type: "boolean" }, { "": "true" }, true],
    [{ type: "boolean" }, { "": "false" }, false],
    [{ type: "string" }, { "": "<b>hi</b>" }, "<b>hi</b>"],
    [{ type: "string" }, {}, ""],
    [{ type: "string", pattern: "(" }, { "": "x" }, "x"],
    [{ type: "integer" }, { "": "-3" }, -3],
    [{ type: "number", minimum: 0.5 }, { "": "0.5" }, 0.5],
    [{ type: "array", items: { type: "string" } }, { "": "a\n\nb" }, ["a", "b"]],
    [{ type: "array", items: { type: "number" } }, { "": "[1, 2]" }, [1, 2]],
    [{}, { "": '{"a": 1}' }, { a: 1 }],
    [null, { "": "3" }, 3],
  ])("answers %j", (schema, filled, value) => {
    expect(answer(schema, filled)).toEqual({ ok: true, value });
  });

  it.each([
    [{ enum: ["a"] }, {}, "Choose one."],
    [{ enum: ["a"] }, { "": "7" }, "Choose one."],
    [{ type: "integer" }, { "": "1.5" }, "This must be a whole number."],
    [{ type: "number" }, { "": "ten" }, "This is not a number."],
    [{ type: "number", maximum: 3 }, { "": "4" }, "At most 3."],
    [{ type: "string", minLength: 2 }, { "": "a" }, "At least 2 characters."],
    [{ type: "string", minLength: 2 }, {}, "Fill this in."],
    [{ type: "string", maxLength: 1 }, { "": "💡💡" }, "At most 1 characters."],
    [{ type: "string", pattern: "\\S" }, {}, "Fill this in."],
    [{ type: "string", pattern: "^a+$" }, { "": "b" }, "It must have the form ^a+$."],
    [{}, { "": "{" }, "This is not JSON."],
  ])("refuses %j with %j", (schema, filled, problem) => {
    expect(answer(schema, filled)).toEqual({ ok: false, problems: { "": problem } });
  });

  const nested = {
    type: "object",
    required: ["verdict"],
    properties: {
      verdict: { enum: ["yes", "no"], title: "Verdict" },
      note: { type: "string" },
      who: { type: "object", required: ["name"], properties: { name: { type: "string", minLength: 1 }, age: { type: "integer" } } },
    },
  };

  it("builds objects, and leaves out what was left empty", () => {
    expect(answer(nested, { verdict: "0" })).toEqual({ ok: true, value: { verdict: "yes" } });
    expect(answer(nested, { verdict: "1", note: "n", "who.name": "Ann", "who.age": "7" })).toEqual({
      ok: true,
      value: { verdict: "no", note: "n", who: { name: "Ann", age: 7 } },
    });
  });

  it("says where it is wrong", () => {
    expect(answer(nested, { "who.age": "7" })).toEqual({
      ok: false,
      problems: { verdict: "Choose one.", "who.name": "Fill this in." },
    });
  });

  it("has labels, and asks for JSON where the schema is beyond it", () => {
    expect(formOf(nested)).toMatchObject({ kind: "object", fields: [{ label: "Verdict", isRequired: true }, {}, {}] });
    let deep: object = { type: "string" };
    for (let level = 0; level < 50; level++) deep = { type: "object", properties: { inner: deep } };
    expect(JSON.stringify(formOf(deep))).toContain('"kind":"json"');
    expect(formOf({ type: ["string", "null"] }).kind).toBe("json");
    expect(formOf({ type: "object", properties: { __proto__: {} } }).kind).toBe("object");
  });
});
