/** `/api/*`: control's HTTP API, passed through. Streams are not buffered. */
import { passThrough } from "@/server/control";

export const dynamic = "force-dynamic";

export { passThrough as DELETE, passThrough as GET, passThrough as PATCH, passThrough as POST, passThrough as PUT };
