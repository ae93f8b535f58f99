import { cn } from "@/components/cn";

import { shown } from "../fns/format";

/** Strangers' text as it is: code, output, payloads. Wide and long text scrolls within. */
export function TextBlock({ value, label, className }: { value: unknown; label: string; className?: string }) {
  return (
    <pre
      tabIndex={0}
      role="group"
      aria-label={label}
      className={cn("max-h-96 overflow-auto rounded-md bg-sunken px-3 py-2 font-mono text-xs leading-5 break-words whitespace-pre-wrap ring-1 ring-line ring-inset", className)}
    >
      {shown(value)}
    </pre>
  );
}
