"use client";

import { X } from "lucide-react";
import { Dialog as Radix } from "radix-ui";
import type { ReactNode } from "react";

import { cn } from "@/components/cn";

import { Button } from "./Button";

export interface DialogProps {
  open: boolean;
  onOpenChange: (open: boolean) => void;
  title: string;
  description?: string;
  /** A drawer at the right edge instead of a box in the middle. */
  isDrawer?: boolean;
  children: ReactNode;
}

const BOX = "left-1/2 top-1/2 max-h-[85dvh] w-[calc(100vw-2rem)] max-w-lg -translate-x-1/2 -translate-y-1/2 rounded-lg";
const DRAWER = "inset-y-0 right-0 w-full max-w-xl border-l border-line";

export function Dialog({ open, onOpenChange, title, description, isDrawer, children }: DialogProps) {
  return (
    <Radix.Root open={open} onOpenChange={onOpenChange}>
      <Radix.Portal>
        <Radix.Overlay className="fixed inset-0 z-40 bg-[rgb(8_9_12/0.4)]" />
        <Radix.Content
          {...(description ? {} : { "aria-describedby": undefined })}
          className={cn("fixed z-50 flex flex-col bg-raised shadow-pop outline-none", isDrawer ? DRAWER : BOX)}
        >
          <div className="flex items-start gap-4 border-b border-line px-5 py-3.5">
            <div className="min-w-0">
              <Radix.Title className="text-base font-semibold break-words">{title}</Radix.Title>
              {description && <Radix.Description className="text-sm text-muted break-words">{description}</Radix.Description>}
            </div>
            <Radix.Close asChild>
              <Button variant="ghost" size="icon" aria-label="Close" className="-mr-2 ml-auto">
                <X aria-hidden className="size-4" />
              </Button>
            </Radix.Close>
          </div>
          {/* a region that scrolls can be reached by keyboard */}
          <div className="min-h-0 overflow-y-auto px-5 py-4" tabIndex={0} role="group" aria-label={title}>
            {children}
          </div>
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}
