"use client";

import { useEffect, useState } from "react";

/** Bars move in steps of this; CSS makes them glide. */
export const STEP_MS = 100;

/** The time, as long as something moves with it. */
export function useNow(isMoving: boolean): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (!isMoving) return;
    const timer = setInterval(() => setNow(Date.now()), STEP_MS);
    return () => clearInterval(timer);
  }, [isMoving]);
  return now;
}
