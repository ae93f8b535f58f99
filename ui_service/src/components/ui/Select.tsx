"use client";

import { Check, ChevronDown } from "lucide-react";
import { Select as Radix } from "radix-ui";

import { cn } from "@/components/cn";

export interface Option {
  value: string;
  label: string;
}

export interface SelectProps {
  label: string;
  options: readonly Option[];
  value: string;
  onChange: (value: string) => void;
  className?: string;
}

/** Radix knows no empty value: "" travels as this. */
const NONE = "\u0000";

export function Select({ label, options, value, onChange, className }: SelectProps) {
  return (
    <Radix.Root value={value || NONE} onValueChange={(chosen) => onChange(chosen === NONE ? "" : chosen)}>
      <Radix.Trigger
        aria-label={label}
        className={cn(
          "inline-flex h-8 min-w-0 items-center justify-between gap-2 rounded-md border border-line-strong bg-raised px-2.5 text-sm hover:bg-hover",
          className,
        )}
      >
        <span className="truncate">
          <Radix.Value />
        </span>
        <ChevronDown aria-hidden className="size-3.5 shrink-0 text-muted" />
      </Radix.Trigger>
      <Radix.Portal>
        <Radix.Content position="popper" sideOffset={4} className="z-50 max-h-80 min-w-(--radix-select-trigger-width) overflow-hidden rounded-md bg-raised p-1 shadow-pop">
          <Radix.Viewport>
            {options.map((option) => (
              <Radix.Item
                key={option.value}
                value={option.value || NONE}
                className="flex h-7 items-center gap-2 rounded px-2 text-sm outline-none data-[highlighted]:bg-hover"
              >
                <Radix.ItemText>{option.label}</Radix.ItemText>
                <Radix.ItemIndicator className="ml-auto">
                  <Check aria-hidden className="size-3.5 text-accent" />
                </Radix.ItemIndicator>
              </Radix.Item>
            ))}
          </Radix.Viewport>
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}
