"use client";

import { useRouter } from "next/navigation";
import { useEffect, useRef, useState } from "react";

import { Dialog } from "@/components/ui/Dialog";

import { type KeyState, pressKey } from "./keys";
import { PAGES } from "./pages";

/** The keys that work on every page, and the list of them. */
export function Shortcuts() {
  const router = useRouter();
  const state = useRef<KeyState>({ goAt: null });
  const [isHelpOpen, setHelpOpen] = useState(false);
  useEffect(() => {
    function onKeyDown(event: KeyboardEvent) {
      const [next, action] = pressKey(state.current, { key: event.key, isTyping: isTyping(event), at: event.timeStamp });
      state.current = next;
      if (action === null) return;
      event.preventDefault();
      if ("go" in action) router.push(action.go);
      else if ("help" in action) setHelpOpen(true);
      else document.querySelector<HTMLElement>("[data-search]")?.focus();
    }
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, [router]);
  return (
    <Dialog open={isHelpOpen} onOpenChange={setHelpOpen} title="Keys" description="They work wherever no text is being written.">
      <dl className="grid grid-cols-[1fr_auto] gap-y-2 text-sm">
        {PAGES.map((page) => (
          <Row key={page.href} label={`Go to ${page.label}`} keys={["g", page.key]} />
        ))}
        <Row label="Search or write on this page" keys={["/"]} />
        <Row label="This list" keys={["?"]} />
      </dl>
    </Dialog>
  );
}

function Row({ label, keys }: { label: string; keys: string[] }) {
  return (
    <>
      <dt>{label}</dt>
      <dd className="flex gap-1">
        {keys.map((key) => (
          <kbd key={key} className="min-w-6 rounded border border-line-strong bg-sunken px-1.5 text-center font-sans text-xs">
            {key}
          </kbd>
        ))}
      </dd>
    </>
  );
}

function isTyping(event: KeyboardEvent): boolean {
  if (event.metaKey || event.ctrlKey || event.altKey || event.defaultPrevented) return true;
  const target = event.target;
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}
