"use client";

import { X } from "lucide-react";
import { Toast as Radix } from "radix-ui";
import { createContext, type ReactNode, useCallback, useContext, useState } from "react";

import { cn } from "@/components/cn";

export interface Notice {
  title: string;
  detail?: string;
  isBad?: boolean;
}

const MAX_SHOWN = 3;
const Context = createContext<(notice: Notice) => void>(() => undefined);

/** Says something to the reader in a corner of the page. */
export function useToast(): (notice: Notice) => void {
  return useContext(Context);
}

export function ToastProvider({ children }: { children: ReactNode }) {
  const [notices, setNotices] = useState<(Notice & { id: number })[]>([]);
  const say = useCallback((notice: Notice) => {
    setNotices((before) => [...before, { ...notice, id: (before.at(-1)?.id ?? 0) + 1 }].slice(-MAX_SHOWN));
  }, []);
  const drop = (id: number) => setNotices((before) => before.filter((each) => each.id !== id));
  return (
    <Context value={say}>
      <Radix.Provider duration={6_000}>
        {children}
        {notices.map((notice) => (
          <Radix.Root
            key={notice.id}
            type={notice.isBad ? "foreground" : "background"}
            onOpenChange={(isOpen) => !isOpen && drop(notice.id)}
            className="flex items-start gap-3 rounded-md bg-raised px-4 py-3 text-sm shadow-pop"
          >
            <div className="min-w-0">
              <Radix.Title className={cn("font-medium break-words", notice.isBad && "text-bad")}>{notice.title}</Radix.Title>
              {notice.detail && <Radix.Description className="break-words text-muted">{notice.detail}</Radix.Description>}
            </div>
            <Radix.Close aria-label="Dismiss" className="ml-auto rounded p-0.5 text-muted hover:text-text">
              <X aria-hidden className="size-4" />
            </Radix.Close>
          </Radix.Root>
        ))}
        <Radix.Viewport className="fixed right-4 bottom-20 z-50 grid w-80 max-w-[calc(100vw-2rem)] gap-2 outline-none md:bottom-4" />
      </Radix.Provider>
    </Context>
  );
}
