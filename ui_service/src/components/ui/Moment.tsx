"use client";

import { useClock } from "@/components/useClock";
import { fromNow, momentOf, wholeMoment } from "@/format/time";

/** How long ago something was; the whole moment on hover. */
export function Moment({ at }: { at: string | null | undefined }) {
  const now = useClock();
  const when = momentOf(at);
  return (
    <time dateTime={at ?? undefined} title={wholeMoment(when)} className="whitespace-nowrap tabular-nums" suppressHydrationWarning>
      {fromNow(when, now)}
    </time>
  );
}
