/** Artifacts with what belongs together: code with the run of it. Pure. */
import type { ArtifactView } from "../types";
import type { Hop } from "./runLog";

export interface ArtifactGroup {
  readonly hop: Hop;
  readonly artifact: ArtifactView;
  /** What running it came to, newest last. */
  readonly runs: readonly ArtifactView[];
}

/** What a program did, out of an artifact of kind "run". */
export interface Execution {
  readonly stdout: string;
  readonly stderr: string;
  readonly state: string;
  readonly exitCode: string;
}

export function artifactGroups(hops: readonly Hop[]): ArtifactGroup[] {
  const all = hops.flatMap((hop) => hop.artifacts.map((artifact) => ({ hop, artifact })));
  const codes = new Set(all.filter(({ artifact }) => artifact.kind !== "run").map(({ artifact }) => artifact.artifact_id));
  const runs = all.filter(({ artifact }) => artifact.kind === "run").map(({ artifact }) => artifact);
  return all
    .filter(({ artifact }) => artifact.kind !== "run" || !codes.has(artifact.metadata.code ?? ""))
    .map(({ hop, artifact }) => ({
      hop,
      artifact,
      runs: artifact.kind === "run" ? [artifact] : runs.filter((run) => run.metadata.code === artifact.artifact_id),
    }));
}

/** Null when the text is something else. */
export function executionOf(artifact: ArtifactView): Execution | null {
  let found: unknown;
  try {
    found = JSON.parse(artifact.text);
  } catch {
    return null;
  }
  if (typeof found !== "object" || found === null) return null;
  const { stdout, stderr, state, exit_code } = found as Record<string, unknown>;
  if (typeof stdout !== "string" && typeof stderr !== "string") return null;
  return {
    stdout: typeof stdout === "string" ? stdout : "",
    stderr: typeof stderr === "string" ? stderr : "",
    state: String(state ?? artifact.metadata.state ?? ""),
    exitCode: String(exit_code ?? artifact.metadata.exit_code ?? ""),
  };
}
