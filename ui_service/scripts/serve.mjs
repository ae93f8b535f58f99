// Starts the built server. WAYSTATION_UI_TETHERED=1: it ends when its standard input does, so that it cannot outlive
// the supervisor that started it.
if (process.env.WAYSTATION_UI_TETHERED === "1") {
  process.stdin.resume().on("end", () => process.exit(1));
}
process.env.NEXT_TELEMETRY_DISABLED = "1";
await import("./server.js");
