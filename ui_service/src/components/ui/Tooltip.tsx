"use client";

import { Tooltip as Radix } from "radix-ui";
import type { ReactElement } from "react";

/** Says more about `children`, a single element that takes focus. */
export function Tip({ text, children }: { text: string; children: ReactElement }) {
  return (
    <Radix.Root>
      <Radix.Trigger asChild>{children}</Radix.Trigger>
      <Radix.Portal>
        <Radix.Content
          sideOffset={6}
          collisionPadding={8}
          className="z-50 max-w-xs rounded-md bg-text px-2.5 py-1.5 text-xs break-words text-canvas"
        >
          {text}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}
