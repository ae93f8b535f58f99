import { useMemo } from "react";

import { Badge, type Tone } from "@/components/ui/Badge";
import { Table, Td, Th } from "@/components/ui/Table";

import { shown } from "../fns/format";
import { type Change, diffOf } from "../fns/stateDiff";
import type { CheckpointView } from "../types";

const TONES: Record<Change["kind"], Tone> = { added: "good", removed: "bad", changed: "accent" };

/** What changed from one committed state to another. */
export function StateDiffTable({ from, to }: { from: CheckpointView; to: CheckpointView }) {
  const diff = useMemo(() => diffOf(from.state, to.state), [from, to]);
  const title = `What changed from step ${from.step} to step ${to.step}`;
  return (
    <section aria-label="Difference" className="border-t border-line">
      <h2 className="px-4 pt-4 pb-2 text-sm font-semibold">{title}</h2>
      {diff.changes.length === 0 ? (
        <p className="px-4 pb-4 text-sm text-muted">Nothing: the two states are the same.</p>
      ) : (
        <Table label={title} className="table-fixed min-w-[40rem]">
          <thead>
            <tr>
              <Th className="w-1/4">Field</Th>
              <Th className="w-24">Change</Th>
              <Th>Before</Th>
              <Th>After</Th>
            </tr>
          </thead>
          <tbody>
            {diff.changes.map((change) => (
              <tr key={change.path}>
                <Td className="font-mono text-xs leading-5 break-all">{change.path || "everything"}</Td>
                <Td>
                  <Badge tone={TONES[change.kind]}>{change.kind}</Badge>
                </Td>
                <Value value={change.before} />
                <Value value={change.after} />
              </tr>
            ))}
          </tbody>
        </Table>
      )}
      {diff.isCut && <p className="px-4 pb-4 text-sm text-muted">There are more changes than are shown.</p>}
    </section>
  );
}

function Value({ value }: { value: unknown }) {
  return (
    <Td>
      {value !== undefined && <div className="max-h-40 overflow-hidden font-mono text-xs leading-5 break-words whitespace-pre-wrap">{shown(value, 1_000)}</div>}
    </Td>
  );
}
