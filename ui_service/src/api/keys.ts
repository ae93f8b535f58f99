/** Under which names the answers of control are kept. */

export const keys = {
  services: ["services"],
  mode: ["mode"],
  health: ["health"],
  workflows: ["workflows"],
  incidents: ["incidents"],
  stores: ["stores"],
  queues: ["queues"],
  runs: ["runs"],
  run: (runId: string) => ["run", runId],
  runSpans: (runId: string) => ["run", runId, "spans"],
} as const;
