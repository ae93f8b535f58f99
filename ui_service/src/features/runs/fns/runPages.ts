/** The pages of the list of runs as events change them. Pure. */
import type { RunList, RunView } from "@/api/schema";

export interface RunPages {
  pages: RunList[];
  pageParams: unknown[];
}

/** The pages with what was told of a run, where it stands; the same pages when it is not there. */
export function withRun(pages: RunPages, told: RunView): RunPages {
  let isThere = false;
  const next = pages.pages.map((page) => {
    const at = page.runs.findIndex((run) => run.run_id === told.run_id);
    if (at < 0) return page;
    isThere = true;
    return { ...page, runs: page.runs.with(at, told) };
  });
  return isThere ? { ...pages, pages: next } : pages;
}

/** All runs, each once: a page that was fetched later may repeat the end of the one before. */
export function runsOf(pages: RunPages | undefined): RunView[] {
  const byId = new Map<string, RunView>();
  for (const page of pages?.pages ?? []) for (const run of page.runs) byId.set(run.run_id, byId.get(run.run_id) ?? run);
  return [...byId.values()];
}

/** How long a run took, or has taken until now; null when it has not begun. */
export function tookMs(run: RunView, now: number): number | null {
  const from = Date.parse(run.create_time ?? "");
  if (!Number.isFinite(from)) return null;
  const until = Date.parse(run.end_time ?? "");
  return Math.max(0, (Number.isFinite(until) ? until : now) - from);
}
