import { CircleAlert, type LucideIcon } from "lucide-react";
import type { ReactNode } from "react";

import { ApiFailure } from "@/api/failure";

import { Button } from "./Button";

export interface EmptyStateProps {
  icon: LucideIcon;
  title: string;
  children?: ReactNode;
}

/** There is nothing, and that is no failure. */
export function EmptyState({ icon: Icon, title, children }: EmptyStateProps) {
  return (
    <div className="grid place-items-center gap-2 px-6 py-14 text-center">
      <Icon aria-hidden className="size-6 text-muted" strokeWidth={1.5} />
      <p className="font-medium">{title}</p>
      {children && <div className="max-w-md text-sm text-muted">{children}</div>}
    </div>
  );
}

/** Something went wrong: what, and what to do about it. */
export function ErrorState({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  const failure = ApiFailure.from(error);
  return (
    <div role="alert" className="grid place-items-center gap-2 px-6 py-14 text-center">
      <CircleAlert aria-hidden className="size-6 text-bad" strokeWidth={1.5} />
      <p className="max-w-lg font-medium break-words">{failure.message}</p>
      {failure.remedy && <p className="max-w-lg text-sm break-words text-muted">{failure.remedy}</p>}
      {onRetry && (
        <Button onClick={onRetry} className="mt-2">
          Try again
        </Button>
      )}
    </div>
  );
}
