/** What changed between two states of a run. Pure; bounded in depth and number. */

export interface Change {
  /** Such as `hops[1].outcome`. */
  readonly path: string;
  readonly kind: "added" | "removed" | "changed";
  readonly before: unknown;
  readonly after: unknown;
}

export interface StateDiff {
  readonly changes: readonly Change[];
  /** Whether there are more than are shown. */
  readonly isCut: boolean;
}

export const MAX_CHANGES = 500;
const MAX_DEPTH = 12;

export function diffOf(before: unknown, after: unknown): StateDiff {
  const changes: Change[] = [];
  compare("", before, after, 0, changes);
  return { changes: changes.slice(0, MAX_CHANGES), isCut: changes.length > MAX_CHANGES };
}

function compare(path: string, before: unknown, after: unknown, depth: number, changes: Change[]): void {
  if (changes.length > MAX_CHANGES || Object.is(before, after)) return;
  if (depth < MAX_DEPTH && Array.isArray(before) && Array.isArray(after)) {
    for (let index = 0; index < Math.max(before.length, after.length); index++) {
      member(`${path}[${index}]`, before, after, index, depth, changes);
    }
  } else if (depth < MAX_DEPTH && isRecord(before) && isRecord(after)) {
    for (const name of [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()) {
      member(path ? `${path}.${name}` : name, before, after, name, depth, changes);
    }
  } else if (JSON.stringify(before) !== JSON.stringify(after)) {
    changes.push({ path, kind: "changed", before, after });
  }
}

function member(path: string, before: object, after: object, name: PropertyKey, depth: number, changes: Change[]): void {
  const [was, is] = [Object.hasOwn(before, name), Object.hasOwn(after, name)];
  const [old, now] = [Reflect.get(before, name) as unknown, Reflect.get(after, name) as unknown];
  if (was && is) compare(path, old, now, depth + 1, changes);
  else if (was) changes.push({ path, kind: "removed", before: old, after: undefined });
  else changes.push({ path, kind: "added", before: undefined, after: now });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
