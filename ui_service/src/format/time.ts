/** Moments as people read them, in their own zone. Pure but for the zone. */

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** When that is, as unix milliseconds; null when it is no time. */
export function momentOf(text: string | null | undefined): number | null {
  const at = Date.parse(text ?? "");
  return Number.isFinite(at) ? at : null;
}

/** How long ago, or in how long: "now", "12 s ago", "in 4 min", "3 days ago". */
export function fromNow(at: number | null, now: number): string {
  if (at === null) return "–";
  const away = Math.abs(now - at);
  if (away < 1_500) return "now";
  const said =
    away < MINUTE
      ? `${Math.round(away / 1_000)} s`
      : away < HOUR
        ? `${Math.round(away / MINUTE)} min`
        : away < DAY
          ? `${Math.round(away / HOUR)} h`
          : `${Math.round(away / DAY)} ${Math.round(away / DAY) === 1 ? "day" : "days"}`;
  return at > now ? `in ${said}` : `${said} ago`;
}

/** The whole moment, with its zone. */
export function wholeMoment(at: number | null): string {
  if (at === null) return "";
  return new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
}

/** What is left until then, as m:ss or h:mm:ss. */
export function countdown(until: number, now: number): string {
  const left = Math.max(0, Math.ceil((until - now) / 1_000));
  const [hours, minutes, seconds] = [Math.floor(left / 3_600), Math.floor(left / 60) % 60, left % 60];
  const two = (part: number) => String(part).padStart(2, "0");
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`;
}
