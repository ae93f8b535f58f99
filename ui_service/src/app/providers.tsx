"use client";

import { QueryClientProvider } from "@tanstack/react-query";
import { Tooltip } from "radix-ui";
import { type ReactNode, useState } from "react";

import { makeQueryClient } from "@/api/queryClient";
import { ToastProvider } from "@/components/ui/Toast";
import { LiveProvider } from "@/live/LiveProvider";

/** What every page works with: the cache of what control said, its events, and messages to the reader. */
export function Providers({ children }: { children: ReactNode }) {
  const [client] = useState(makeQueryClient);
  return (
    <QueryClientProvider client={client}>
      <LiveProvider>
        <Tooltip.Provider delayDuration={300}>
          <ToastProvider>{children}</ToastProvider>
        </Tooltip.Provider>
      </LiveProvider>
    </QueryClientProvider>
  );
}
