/** One colour for each service, the same on every page and for every reader. Pure. */

const COLOURS = [
  "light-dark(#4f58d6, #8b90f5)",
  "light-dark(#0f857a, #3fbfae)",
  "light-dark(#a8610a, #dba04a)",
  "light-dark(#8a45c4, #bf8bee)",
  "light-dark(#0b78b0, #56b3e6)",
  "light-dark(#4d7a12, #94c24f)",
  "light-dark(#b83a78, #ef86b6)",
  "light-dark(#626878, #9aa1b2)",
] as const;
const KNOWN = ["agent", "rag", "coding", "tools", "control", "models"];

export function serviceColour(service: string): string {
  const place = KNOWN.indexOf(service);
  if (place >= 0) return COLOURS[place]!;
  let sum = 0;
  for (const character of service) sum = (sum * 31 + character.codePointAt(0)!) % 9_973;
  return COLOURS[6 + (sum % (COLOURS.length - 6))]!;
}
