/** An answer in parts: text, code between fences, and references such as [2] to a citation. Pure. */

export type AnswerPart =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "code"; readonly text: string; readonly language: string }
  | { readonly kind: "citation"; readonly number: number };

export function answerParts(answer: string, numbers: ReadonlySet<number>): AnswerPart[] {
  const parts: AnswerPart[] = [];
  let rest: string[] = [];
  let fence: { mark: string; language: string; lines: string[] } | null = null;
  for (const line of answer.split("\n")) {
    const found = /^\s{0,3}(`{3,})\s*([\w+#.-]*)\s*$/.exec(line);
    if (fence && found && found[1]!.length >= fence.mark.length && !found[2]) {
      parts.push({ kind: "code", text: fence.lines.join("\n"), language: fence.language });
      fence = null;
    } else if (fence) {
      fence.lines.push(line);
    } else if (found) {
      parts.push(...inline(rest, numbers));
      rest = [];
      fence = { mark: found[1]!, language: found[2]!, lines: [] };
    } else {
      rest.push(line);
    }
  }
  // a fence that is still open is code that is being written
  if (fence) parts.push({ kind: "code", text: fence.lines.join("\n"), language: fence.language });
  else parts.push(...inline(rest, numbers));
  return parts;
}

/** A number that no citation has stays text. */
function inline(lines: readonly string[], numbers: ReadonlySet<number>): AnswerPart[] {
  const parts: AnswerPart[] = [];
  const text = lines.join("\n").replace(/^(?:[ \t]*\n)+|\s+$/g, "");
  let from = 0;
  for (const found of text.matchAll(/\[(\d{1,4})\]/g)) {
    const number = Number(found[1]);
    if (!numbers.has(number)) continue;
    if (found.index > from) parts.push({ kind: "text", text: text.slice(from, found.index) });
    parts.push({ kind: "citation", number });
    from = found.index + found[0].length;
  }
  parts.push({ kind: "text", text: text.slice(from) });
  return parts.filter((part) => part.kind !== "text" || part.text.trim());
}
