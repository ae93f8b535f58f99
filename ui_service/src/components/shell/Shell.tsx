"use client";

import Link from "next/link";
import { usePathname } from "next/navigation";
import type { ReactNode } from "react";

import { cn } from "@/components/cn";
import { ConnectionState } from "@/components/shell/ConnectionState";
import { PAGES, type PageLink } from "@/components/shell/pages";
import { Shortcuts } from "@/components/shell/Shortcuts";
import type { Theme } from "@/components/shell/theme";
import { ThemeSwitch } from "@/components/shell/ThemeSwitch";

/** The frame around every page: where one can go, whether what is shown is live, and light or dark. */
export function Shell({ initialTheme, children }: { initialTheme: Theme; children: ReactNode }) {
  return (
    <div className="min-h-dvh md:grid md:grid-cols-[13rem_minmax(0,1fr)]">
      <a
        href="#content"
        className="sr-only rounded bg-accent px-3 py-2 text-accent-text focus:not-sr-only focus:fixed focus:left-2 focus:top-2 focus:z-50"
      >
        Skip to content
      </a>
      <aside className="sticky top-0 z-30 flex h-12 items-center gap-3 border-b border-line bg-surface px-4 md:h-dvh md:flex-col md:items-stretch md:border-b-0 md:border-r md:px-3 md:py-4">
        <Link href="/ask" className="flex items-center gap-2 rounded font-semibold tracking-tight md:px-2">
          <Mark />
          Waystation
        </Link>
        <nav aria-label="Pages" className="hidden md:mt-3 md:block">
          <ul className="grid gap-0.5">
            {PAGES.map((page) => (
              <li key={page.href}>
                <SideLink page={page} />
              </li>
            ))}
          </ul>
        </nav>
        <div className="ml-auto flex items-center gap-2 md:ml-0 md:mt-auto md:flex-col md:items-stretch">
          <ConnectionState />
          <ThemeSwitch initialTheme={initialTheme} />
        </div>
      </aside>
      <main id="content" tabIndex={-1} className="min-w-0 px-4 pb-24 pt-5 outline-none md:px-8 md:pb-10 md:pt-7">
        {children}
      </main>
      <BottomNav />
      <Shortcuts />
    </div>
  );
}

function SideLink({ page }: { page: PageLink }) {
  const isHere = useIsHere(page.href);
  const Icon = page.icon;
  return (
    <Link
      href={page.href}
      aria-current={isHere ? "page" : undefined}
      className={cn(
        "group flex h-8 items-center gap-2.5 rounded-md px-2 text-sm transition-colors",
        isHere ? "bg-hover font-medium text-text" : "text-muted hover:bg-hover hover:text-text",
      )}
    >
      <Icon aria-hidden className={cn("size-4", isHere && "text-accent")} strokeWidth={1.75} />
      {page.label}
      <kbd aria-hidden className="ml-auto hidden font-sans text-2xs text-muted group-hover:block">
        g {page.key}
      </kbd>
    </Link>
  );
}

function BottomNav() {
  return (
    <nav
      aria-label="Pages"
      className="fixed inset-x-0 bottom-0 z-30 grid grid-cols-4 border-t border-line bg-surface pb-[env(safe-area-inset-bottom)] md:hidden"
    >
      {PAGES.map((page) => (
        <BottomLink key={page.href} page={page} />
      ))}
    </nav>
  );
}

function BottomLink({ page }: { page: PageLink }) {
  const isHere = useIsHere(page.href);
  const Icon = page.icon;
  return (
    <Link
      href={page.href}
      aria-current={isHere ? "page" : undefined}
      className={cn("grid h-14 place-items-center content-center gap-0.5 text-2xs", isHere ? "font-medium text-accent" : "text-muted")}
    >
      <Icon aria-hidden className="size-5" strokeWidth={1.75} />
      {page.label}
    </Link>
  );
}

function useIsHere(href: string): boolean {
  const path = usePathname();
  return path === href || path.startsWith(`${href}/`);
}

/** A way station: a stop on a line. */
function Mark() {
  return (
    <svg aria-hidden viewBox="0 0 20 20" className="size-5 text-accent" fill="none" stroke="currentColor" strokeWidth="1.75">
      <path d="M1 10h5M14 10h5" strokeLinecap="round" />
      <circle cx="10" cy="10" r="4" />
      <circle cx="10" cy="10" r="1" fill="currentColor" stroke="none" />
    </svg>
  );
}
