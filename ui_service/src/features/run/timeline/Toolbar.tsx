"use client";

import { ChevronsDownUp, ChevronsUpDown, Maximize2, Route, Search, ZoomIn, ZoomOut } from "lucide-react";
import { type ReactNode, useState } from "react";

import { Button } from "@/components/ui/Button";

import { count, duration } from "../fns/format";
import type { TimelineModel } from "./useTimeline";

export interface ToolbarProps {
  model: TimelineModel;
  search: string;
  onSearch: (text: string) => void;
  onNextMatch: (by: 1 | -1) => void;
  hasPath: boolean;
  onPath: (isShown: boolean) => void;
}

export function Toolbar({ model, search, onSearch, onNextMatch, hasPath, onPath }: ToolbarProps) {
  const { matches } = model.visible;
  // the address follows a moment later; what is typed must not wait for it
  const [text, setText] = useState(search);
  return (
    <div className="flex flex-wrap items-center gap-x-3 gap-y-2 border-b border-line px-3 py-2">
      <label className="relative min-w-40 flex-1 sm:max-w-xs">
        <span className="sr-only">Search spans</span>
        <Search aria-hidden className="pointer-events-none absolute top-2 left-2.5 size-4 text-muted" />
        <input
          data-search
          type="search"
          value={text}
          maxLength={200}
          placeholder="Search names, services, attributes"
          onChange={(event) => {
            setText(event.target.value);
            onSearch(event.target.value);
          }}
          onKeyDown={(event) => {
            if (event.key === "Enter") onNextMatch(event.shiftKey ? -1 : 1);
            if (event.key === "Escape") event.currentTarget.blur();
          }}
          className="h-8 w-full rounded-md border border-line-strong bg-raised pr-2 pl-8 text-sm placeholder:text-muted"
        />
      </label>
      <p role="status" className="text-sm text-muted tabular-nums">
        {search.trim() ? `${matches.length.toLocaleString("en")} of ` : ""}
        {count(model.tree.rows.length, "span")}
        {!search.trim() && ` · ${duration(model.extent.endMs - model.extent.startMs)}`}
      </p>
      <div className="ml-auto flex items-center gap-1">
        <Tool label="Critical path" isOn={hasPath} onClick={() => onPath(!hasPath)}>
          <Route aria-hidden className="size-4" />
        </Tool>
        <Tool label="Fold all" onClick={() => model.foldAll(true)}>
          <ChevronsDownUp aria-hidden className="size-4" />
        </Tool>
        <Tool label="Unfold all" onClick={() => model.foldAll(false)}>
          <ChevronsUpDown aria-hidden className="size-4" />
        </Tool>
        <Tool label="Zoom in" onClick={() => model.zoomBy(0.5)}>
          <ZoomIn aria-hidden className="size-4" />
        </Tool>
        <Tool label="Zoom out" disabled={!model.isZoomed} onClick={() => model.zoomBy(2)}>
          <ZoomOut aria-hidden className="size-4" />
        </Tool>
        <Tool label="Show the whole trace" disabled={!model.isZoomed} onClick={model.resetZoom}>
          <Maximize2 aria-hidden className="size-4" />
        </Tool>
      </div>
    </div>
  );
}

interface ToolProps {
  label: string;
  isOn?: boolean;
  disabled?: boolean;
  onClick: () => void;
  children: ReactNode;
}

function Tool({ label, isOn, disabled, onClick, children }: ToolProps) {
  return (
    <Button
      variant="ghost"
      size="icon"
      title={label}
      aria-label={label}
      aria-pressed={isOn}
      disabled={disabled}
      onClick={onClick}
      className={isOn ? "bg-accent-soft text-accent" : undefined}
    >
      {children}
    </Button>
  );
}
