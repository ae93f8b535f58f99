import type { ReactNode } from "react";

import { cn } from "@/components/cn";

export interface PanelProps {
  title?: string;
  /** To the right of the title. */
  aside?: ReactNode;
  className?: string;
  children: ReactNode;
}

/** A titled box on a page. */
export function Panel({ title, aside, className, children }: PanelProps) {
  return (
    <section aria-label={title} className={cn("min-w-0 overflow-hidden rounded-lg border border-line bg-surface", className)}>
      {title && (
        <header className="flex min-h-11 flex-wrap items-center gap-x-3 gap-y-1 border-b border-line px-4 py-2">
          <h2 className="text-sm font-semibold">{title}</h2>
          {aside && <div className="ml-auto flex items-center gap-2 text-sm text-muted">{aside}</div>}
        </header>
      )}
      {children}
    </section>
  );
}

/** The head of a page. */
export function PageHead({ title, children, aside }: { title: string; children?: ReactNode; aside?: ReactNode }) {
  return (
    <header className="mb-5 flex flex-wrap items-end gap-x-4 gap-y-2">
      <div className="min-w-0">
        <h1 className="text-lg font-semibold tracking-tight">{title}</h1>
        {children && <p className="text-sm text-muted">{children}</p>}
      </div>
      {aside && <div className="ml-auto flex items-center gap-2">{aside}</div>}
    </header>
  );
}
