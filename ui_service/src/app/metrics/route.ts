/** `/metrics`: control's figures in Prometheus' text format, passed through. */
import { passThrough } from "@/server/control";

export const dynamic = "force-dynamic";

export { passThrough as GET };
