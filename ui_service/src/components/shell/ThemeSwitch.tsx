"use client";

import { Monitor, Moon, Sun } from "lucide-react";
import { useState } from "react";

import { Button } from "@/components/ui/Button";

import { applyTheme, type Theme, THEMES } from "./theme";

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
    <Button variant="ghost" size="sm" onClick={turn} aria-label={`Theme: ${theme}. Change it.`} className="md:justify-start">
      <Icon aria-hidden className="size-4" strokeWidth={1.75} />
      <span className="hidden capitalize md:inline">{theme}</span>
    </Button>
  );
}
