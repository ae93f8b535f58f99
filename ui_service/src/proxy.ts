/** What stands before every page and route: the Host check, and a policy under which only our own scripts run. */
import { type NextRequest, NextResponse } from "next/server";

import { allowedHosts, isAllowedHost } from "@/server/hosts";

export function proxy(request: NextRequest): NextResponse {
  if (!isAllowedHost(request.headers.get("host"), allowedHosts(process.env))) {
    const message = "The Host header names another host.";
    const remedy = "Use http://127.0.0.1, or name the host in WAYSTATION_UI_ALLOWED_HOSTS.";
    return NextResponse.json({ reason: "FORBIDDEN", message, remedy, metadata: {} }, { status: 403 });
  }
  const nonce = Buffer.from(crypto.randomUUID()).toString("base64");
  const policy = policyWith(nonce, process.env.NODE_ENV === "development");
  const headers = new Headers(request.headers);
  // Next puts the nonce of this policy on the scripts it writes
  headers.set("content-security-policy", policy);
  const response = NextResponse.next({ request: { headers } });
  response.headers.set("content-security-policy", policy);
  response.headers.set("x-content-type-options", "nosniff");
  response.headers.set("referrer-policy", "no-referrer");
  response.headers.set("x-frame-options", "DENY");
  return response;
}

function policyWith(nonce: string, isDevelopment: boolean): string {
  return [
    "default-src 'none'",
    `script-src 'self' 'nonce-${nonce}' 'strict-dynamic'${isDevelopment ? " 'unsafe-eval'" : ""}`,
    // geometry is drawn with style attributes
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
}

export const config = { matcher: ["/((?!_next/static).*)"] };
