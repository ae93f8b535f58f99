/** How long to wait before trying again. */

export const FIRST_MS = 250;
export const LONGEST_MS = 5_000;

/** Doubles with each failure in a row; `chance` (0 to 1) spreads readers who lost the same server. */
export function backoffMs(failures: number, chance: number): number {
  const full = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.max(0, Math.min(failures, 16) - 1));
  return Math.round(full * (0.5 + 0.5 * chance));
}
