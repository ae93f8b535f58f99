/** Who may talk to the dashboard's server: this machine, and hosts that a setting names. */

const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];
const SAFE_METHODS = ["GET", "HEAD", "OPTIONS"];

/** The names under which the server may be reached. */
export function allowedHosts(environ: Record<string, string | undefined>): string[] {
  const named = (environ.WAYSTATION_UI_ALLOWED_HOSTS ?? "").split(",").map((name) => name.trim().toLowerCase());
  return [...LOOPBACK, ...named.filter(Boolean)];
}

/** Whether a Host header, with or without a port, names one of them. */
export function isAllowedHost(host: string | null, allowed: readonly string[]): boolean {
  const found = /^(\[[0-9a-f:]+\]|[a-z0-9._-]+)(:\d{1,5})?$/.exec((host ?? "").toLowerCase());
  return found !== null && allowed.includes(found[1] ?? "");
}

/** Whether a request that changes something comes from our own pages, or from a program that is no page. */
export function isOwnRequest(method: string, headers: Headers): boolean {
  if (SAFE_METHODS.includes(method)) return true;
  const origin = headers.get("origin");
  if (origin === null) return !["cross-site", "same-site"].includes(headers.get("sec-fetch-site") ?? "none");
  return URL.canParse(origin) && new URL(origin).host === headers.get("host")?.toLowerCase();
}
