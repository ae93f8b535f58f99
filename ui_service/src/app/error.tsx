"use client";

import { ErrorState } from "@/components/ui/States";

/** What a page shows when drawing it failed. */
export default function PageError({ error, reset }: { error: Error; reset: () => void }) {
  return <ErrorState error={error} onRetry={reset} />;
}
