"use client";

import { CircleHelp } from "lucide-react";
import { type FormEvent, useId, useMemo, useState } from "react";

import { Button } from "@/components/ui/Button";

import { answerOf, type Field, type Filled, formOf } from "../fns/schemaForm";
import type { RunActions } from "../hooks/useRunActions";
import type { QuestionView } from "../types";

const INPUT = "w-full rounded-md border border-line-strong bg-raised px-2.5 text-sm";

/** What the run asks, with the form that its schema describes. */
export function QuestionForm({ question, actions }: { question: QuestionView; actions: RunActions }) {
  const form = useMemo(() => formOf(question.response_schema), [question]);
  const [filled, setFilled] = useState<Filled>({});
  const [problems, setProblems] = useState<Readonly<Record<string, string>>>({});
  function submit(event: FormEvent) {
    event.preventDefault();
    const result = answerOf(form, filled);
    setProblems(result.ok ? {} : result.problems);
    if (result.ok) actions.answer.mutate({ questionId: question.question_id, value: result.value });
  }
  return (
    <form noValidate onSubmit={submit} aria-label="Question" className="mb-5 rounded-lg border border-warn bg-surface p-4">
      <p className="mb-3 flex gap-2.5 font-medium break-words whitespace-pre-wrap">
        <CircleHelp aria-hidden className="mt-0.5 size-4 shrink-0 text-warn" />
        {question.text || "The run asks for something."}
      </p>
      <FieldInput
        field={form}
        filled={filled}
        problems={problems}
        onFill={(path, value) => setFilled((before) => ({ ...before, [path]: value }))}
      />
      <div className="mt-4 flex items-center gap-3">
        <Button type="submit" variant="primary" disabled={actions.answer.isPending}>
          Answer
        </Button>
        <span className="text-sm text-muted">asked by {question.asked_by.replaceAll("_", " ") || "the run"}</span>
      </div>
    </form>
  );
}

interface FieldProps {
  field: Field;
  filled: Filled;
  problems: Readonly<Record<string, string>>;
  onFill: (path: string, value: string) => void;
}

function FieldInput(props: FieldProps) {
  const { field, problems } = props;
  const id = useId();
  const problem = problems[field.path];
  const described = problem ? `${id}-problem` : field.description ? `${id}-description` : undefined;
  if (field.kind === "object") {
    return (
      <fieldset className="grid gap-3">
        {field.path && <legend className="mb-1 text-sm font-medium">{field.label}</legend>}
        {field.fields.map((member) => (
          <FieldInput key={member.path} {...props} field={member} />
        ))}
      </fieldset>
    );
  }
  const isGroup = field.kind === "choice" && field.options.length <= 6;
  return (
    <div role={isGroup ? "radiogroup" : undefined} aria-labelledby={isGroup ? `${id}-label` : undefined} aria-describedby={isGroup ? described : undefined}>
      <label id={`${id}-label`} htmlFor={isGroup ? undefined : id} className="mb-1 block text-sm text-muted">
        {field.label}
        {!field.isRequired && " (optional)"}
      </label>
      <Input {...props} field={field} id={id} described={described} />
      {field.description && (
        <p id={`${id}-description`} className="mt-1 text-xs text-muted">
          {field.description}
        </p>
      )}
      {problem && (
        <p id={`${id}-problem`} role="alert" className="mt-1 text-sm text-bad">
          {problem}
        </p>
      )}
    </div>
  );
}

type InputProps = FieldProps & { field: Exclude<Field, { kind: "object" }>; id: string; described: string | undefined };

function Input({ field, filled, problems, onFill, id, described }: InputProps) {
  const value = filled[field.path] ?? "";
  const common = { id, "aria-describedby": described, "aria-invalid": problems[field.path] ? true : undefined };
  const fill = (text: string) => onFill(field.path, text);
  switch (field.kind) {
    case "choice":
      return field.options.length <= 6 ? (
        <div className="flex flex-wrap gap-x-5 gap-y-2">
          {field.options.map((option, index) => (
            <label key={index} className="flex items-center gap-2 text-sm">
              <input type="radio" name={id} checked={value === String(index)} onChange={() => fill(String(index))} className="accent-(--accent)" />
              <span className="break-words">{option.label}</span>
            </label>
          ))}
        </div>
      ) : (
        <select {...common} value={value} onChange={(event) => fill(event.target.value)} className={`h-9 ${INPUT}`}>
          <option value="">Choose …</option>
          {field.options.map((option, index) => (
            <option key={index} value={String(index)}>
              {option.label}
            </option>
          ))}
        </select>
      );
    case "boolean":
      return (
        <select {...common} value={value} onChange={(event) => fill(event.target.value)} className={`h-9 max-w-40 ${INPUT}`}>
          <option value="">Choose …</option>
          <option value="true">Yes</option>
          <option value="false">No</option>
        </select>
      );
    case "number":
      return (
        <input {...common} inputMode="decimal" value={value} onChange={(event) => fill(event.target.value)} className={`h-9 max-w-60 ${INPUT}`} />
      );
    case "text":
      if (!field.isLong) return <input {...common} value={value} onChange={(event) => fill(event.target.value)} className={`h-9 ${INPUT}`} />;
  }
  return (
    <textarea
      {...common}
      rows={field.kind === "text" ? 3 : 4}
      value={value}
      placeholder={field.kind === "json" ? "JSON" : field.kind === "lines" ? "One on each line" : undefined}
      onChange={(event) => fill(event.target.value)}
      className={`py-2 ${field.kind === "json" ? "font-mono" : ""} ${INPUT}`}
    />
  );
}
