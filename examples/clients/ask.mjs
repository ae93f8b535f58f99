// Start a run and read its stream from Node: `npm ci && node ask.mjs "hi there"`, in this folder.
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const options = { includeDirs: ["../../proto"], keepCase: true, longs: Number, oneofs: true };
const { waystation } = grpc.loadPackageDefinition(loadSync("waystation/agent/v1/agent_service.proto", options));
const agent = new waystation.agent.v1.AgentService(process.env.AGENT_ADDRESS ?? "127.0.0.1:7410", grpc.credentials.createInsecure());
agent.StartRun({ query: process.argv[2] }, (error, { run } = {}) => {
  if (error) throw error;
  const watch = agent.WatchRun({ run_id: run.run_id });
  watch.on("data", ({ event }) => console.log(event.sequence, event.payload, event.text_produced?.text ?? ""));
  watch.on("end", () => agent.GetRun({ run_id: run.run_id }, (_, reply) => console.log(reply.run.answer)));
});
