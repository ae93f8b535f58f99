/** What of the run page a link restores: the panel, the selected span, the search. Pure. */

export const TABS = ["timeline", "answer", "decisions", "messages", "checkpoints", "artifacts"] as const;
export type Tab = (typeof TABS)[number];

export interface PageView {
  readonly tab: Tab;
  /** The key of the selected span; "" for none. */
  readonly span: string;
  readonly search: string;
}

export function readView(query: URLSearchParams): PageView {
  const tab = TABS.find((each) => each === query.get("tab")) ?? "timeline";
  return { tab, span: (query.get("span") ?? "").slice(0, 200), search: (query.get("q") ?? "").slice(0, 200) };
}

/** The query of a link; what is as it is without one is left out. */
export function writeView(view: PageView): string {
  const query = new URLSearchParams();
  if (view.tab !== "timeline") query.set("tab", view.tab);
  if (view.span) query.set("span", view.span);
  if (view.search) query.set("q", view.search);
  const text = query.toString();
  return text ? `?${text}` : "";
}
