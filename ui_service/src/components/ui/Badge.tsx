import type { ReactNode } from "react";

import { cn } from "@/components/cn";

export type Tone = "neutral" | "accent" | "good" | "warn" | "bad";

const TONES: Record<Tone, string> = {
  neutral: "bg-sunken text-muted ring-1 ring-inset ring-line",
  accent: "bg-accent-soft text-accent",
  good: "bg-good-soft text-good",
  warn: "bg-warn-soft text-warn",
  bad: "bg-bad-soft text-bad",
};
const DOTS: Record<Tone, string> = {
  neutral: "bg-muted",
  accent: "bg-accent",
  good: "bg-good",
  warn: "bg-warn",
  bad: "bg-bad",
};

export interface BadgeProps {
  tone?: Tone;
  /** A dot before the words; it beats while something goes on. */
  dot?: boolean;
  isBeating?: boolean;
  className?: string;
  children: ReactNode;
}

export function Badge({ tone = "neutral", dot, isBeating, className, children }: BadgeProps) {
  return (
    <span
      className={cn(
        "inline-flex h-5 max-w-full shrink-0 items-center gap-1.5 rounded px-1.5 text-xs font-medium whitespace-nowrap",
        TONES[tone],
        className,
      )}
    >
      {dot && <span aria-hidden className={cn("size-1.5 rounded-full", DOTS[tone], isBeating && "animate-pulse-slow")} />}
      <span className="truncate">{children}</span>
    </span>
  );
}
