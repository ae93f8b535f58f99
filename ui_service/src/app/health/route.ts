/** `/health`: whether this process serves; says nothing of control. */

export const dynamic = "force-dynamic";

export function GET(): Response {
  return Response.json({ state: "serving", pid: process.pid }, { headers: { "cache-control": "no-store" } });
}
