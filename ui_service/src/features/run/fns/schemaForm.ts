/**
 * A form from a JSON Schema, and the answer from what was filled in. Pure.
 *
 * Covers what a question to a person asks for: choices, texts, numbers, yes or no, lists of texts, objects of these.
 * Anything else is asked for as JSON. The agent checks the answer against the schema itself.
 */

type Schema = Record<string, unknown>;

interface FieldBase {
  /** "" for the whole answer, otherwise names joined by dots. */
  readonly path: string;
  readonly label: string;
  readonly description: string;
  readonly isRequired: boolean;
}

export type Field = FieldBase &
  (
    | { readonly kind: "choice"; readonly options: readonly { label: string; value: unknown }[] }
    | {
        readonly kind: "text";
        readonly isLong: boolean;
        readonly minLength: number;
        readonly maxLength: number | null;
        readonly pattern: RegExp | null;
      }
    | { readonly kind: "number"; readonly isInteger: boolean; readonly min: number | null; readonly max: number | null }
    | { readonly kind: "boolean" }
    | { readonly kind: "lines" }
    | { readonly kind: "json" }
    | { readonly kind: "object"; readonly fields: readonly Field[] }
  );

/** What was filled in, by path: a text as typed, the index of a choice as a text, "true" or "false". */
export type Filled = Readonly<Record<string, string>>;

export type FormResult =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly problems: Readonly<Record<string, string>> };

const MAX_DEPTH = 4;

export function formOf(schema: unknown): Field {
  return field(schema, "", "Answer", true, 0);
}

function field(given: unknown, path: string, name: string, isRequired: boolean, depth: number): Field {
  const schema: Schema = isSchema(given) ? given : {};
  const base = { path, label: text(schema.title) || name, description: text(schema.description), isRequired };
  const options = optionsOf(schema);
  if (options) return { ...base, kind: "choice", options };
  switch (schema.type) {
    case "boolean":
      return { ...base, kind: "boolean" };
    case "integer":
    case "number":
      return { ...base, kind: "number", isInteger: schema.type === "integer", min: lower(schema), max: upper(schema) };
    case "string":
      return {
        ...base,
        kind: "text",
        isLong: (number(schema.maxLength) ?? Infinity) > 200,
        minLength: number(schema.minLength) ?? 0,
        maxLength: number(schema.maxLength),
        pattern: pattern(schema.pattern),
      };
    case "array":
      return isSchema(schema.items) && schema.items.type === "string" && !optionsOf(schema.items)
        ? { ...base, kind: "lines" }
        : { ...base, kind: "json" };
    case "object":
      if (isSchema(schema.properties) && depth < MAX_DEPTH) {
        return { ...base, kind: "object", fields: members(schema, schema.properties, path, depth) };
      }
  }
  return { ...base, kind: "json" };
}

function members(schema: Schema, properties: Schema, path: string, depth: number): Field[] {
  const required = Array.isArray(schema.required) ? schema.required : [];
  return Object.entries(properties).map(([name, member]) =>
    field(member, path ? `${path}.${name}` : name, name, required.includes(name), depth + 1),
  );
}

function optionsOf(schema: Schema): { label: string; value: unknown }[] | null {
  if ("const" in schema) return [{ label: label(schema.const), value: schema.const }];
  if (Array.isArray(schema.enum)) return schema.enum.map((value: unknown) => ({ label: label(value), value }));
  const variants = schema.oneOf ?? schema.anyOf;
  if (!Array.isArray(variants) || !variants.length) return null;
  if (!variants.every((each) => isSchema(each) && "const" in each)) return null;
  return (variants as Schema[]).map((each) => ({ label: text(each.title) || label(each.const), value: each.const }));
}

/** The answer that was filled in, or what is wrong, by path. */
export function answerOf(form: Field, filled: Filled): FormResult {
  const problems: Record<string, string> = {};
  const value = read(form, filled, problems);
  return Object.keys(problems).length ? { ok: false, problems } : { ok: true, value };
}

/** Undefined for what was left empty and need not be filled in, and for what is wrong. */
function read(form: Field, filled: Filled, problems: Record<string, string>): unknown {
  if (form.kind === "object") return readObject(form, filled, problems);
  const given = filled[form.path] ?? "";
  const isEmpty = given.trim() === "" && !(form.kind === "text" && form.isRequired && form.minLength === 0);
  if (isEmpty) {
    if (form.isRequired) problems[form.path] = form.kind === "choice" ? "Choose one." : "Fill this in.";
    return undefined;
  }
  const result = readers[form.kind](form as never, given);
  if ("problem" in result) problems[form.path] = result.problem;
  return "problem" in result ? undefined : result.value;
}

function readObject(form: Field & { kind: "object" }, filled: Filled, problems: Record<string, string>): unknown {
  const own: Record<string, string> = {};
  const entries = form.fields
    .map((member) => [member.path.slice(form.path ? form.path.length + 1 : 0), read(member, filled, own)] as const)
    .filter(([, value]) => value !== undefined);
  const isLeftOut = !form.isRequired && !entries.length && form.path !== "";
  if (isLeftOut) return undefined; // then what is required inside need not be there either
  Object.assign(problems, own);
  return Object.fromEntries(entries);
}

type Reading = { value: unknown } | { problem: string };
type Of<Kind> = Field & { kind: Kind };

const readers = {
  choice: (form: Of<"choice">, given: string): Reading => {
    const option = form.options[Number(given)];
    return option ? { value: option.value } : { problem: "Choose one." };
  },
  boolean: (_: Of<"boolean">, given: string): Reading => ({ value: given === "true" }),
  number: (form: Of<"number">, given: string): Reading => {
    const value = Number(given);
    if (!Number.isFinite(value)) return { problem: "This is not a number." };
    if (form.isInteger && !Number.isInteger(value)) return { problem: "This must be a whole number." };
    if (form.min !== null && value < form.min) return { problem: `At least ${form.min}.` };
    if (form.max !== null && value > form.max) return { problem: `At most ${form.max}.` };
    return { value };
  },
  text: (form: Of<"text">, given: string): Reading => {
    const length = [...given].length; // JSON Schema counts characters, not UTF-16 units
    if (length < form.minLength) return { problem: `At least ${form.minLength} characters.` };
    if (form.maxLength !== null && length > form.maxLength) return { problem: `At most ${form.maxLength} characters.` };
    if (form.pattern?.test(given) === false) {
      return { problem: given.trim() ? `It must have the form ${form.pattern.source}.` : "Fill this in." };
    }
    return { value: given };
  },
  lines: (_: Of<"lines">, given: string): Reading => ({ value: given.split("\n").filter((line) => line.trim()) }),
  json: (_: Of<"json">, given: string): Reading => {
    try {
      return { value: JSON.parse(given) as unknown };
    } catch {
      return { problem: "This is not JSON." };
    }
  },
};

function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function number(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** One that this browser cannot read is left to the agent. */
function pattern(value: unknown): RegExp | null {
  try {
    return typeof value === "string" ? new RegExp(value, "u") : null;
  } catch {
    return null;
  }
}

function lower(schema: Schema): number | null {
  return number(schema.minimum) ?? number(schema.exclusiveMinimum);
}

function upper(schema: Schema): number | null {
  return number(schema.maximum) ?? number(schema.exclusiveMaximum);
}

function label(value: unknown): string {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "");
}
