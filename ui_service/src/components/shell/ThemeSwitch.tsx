"use client";

import { Monitor, Moon, Sun } from "lucide-react";
import { useState } from "react";

import { Button } from "@/components/ui/Button";

import { applyTheme, type Theme, THEMES } from "./theme";

const LABELS = { system: "System theme", light: "Light theme", dark: "Dark theme" };
const ICONS = { system: Monitor, light: Sun, dark: Moon };

/** One button that goes through system, light and dark. */
export function ThemeSwitch({ initialTheme }: { initialTheme: Theme }) {
  const [theme, setTheme] = useState(initialTheme);
  const Icon = ICONS[theme];
  function turn() {
    const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "system";
    applyTheme(next);
    setTheme(next);
  }
  return (
    <Button variant="ghost" size="sm" onClick={turn} title="Change the theme" className="md:justify-start md:gap-2.5 md:font-normal">
      <Icon aria-hidden className="size-4" strokeWidth={1.75} />
      <span className="sr-only md:not-sr-only">{LABELS[theme]}</span>
    </Button>
  );
}
