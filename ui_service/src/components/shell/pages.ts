import { Activity, CircleHelp, type LucideIcon, Server, SlidersHorizontal } from "lucide-react";

export interface PageLink {
  href: string;
  label: string;
  /** Pressed after `g`. */
  key: string;
  icon: LucideIcon;
}

export const PAGES: readonly PageLink[] = [
  { href: "/ask", label: "Ask", key: "a", icon: CircleHelp },
  { href: "/runs", label: "Runs", key: "r", icon: Activity },
  { href: "/services", label: "Services", key: "s", icon: Server },
  { href: "/system", label: "System", key: "y", icon: SlidersHorizontal },
];
