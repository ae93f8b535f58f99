// A capability in Node, with nothing of ours but the proto: `npm ci && node weekdays.mjs`, in this folder.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { HealthImplementation } from "grpc-health-check";

const files = ["waystation/capability/v1/capability_service.proto", "waystation/control/v1/registry_service.proto"];
const includeDirs = [fileURLToPath(new URL("../../proto", import.meta.url))];
const { waystation } = grpc.loadPackageDefinition(loadSync(files, { includeDirs, keepCase: true, longs: Number }));

const descriptor = {
  name: "weekdays",
  description: "Says which day of the week a date is.",
  tags: ["dates", "weekday"],
  examples: ["which day of the week is 2026-11-21?", "what weekday was 1969-07-20", "is 2027-01-01 a Monday?"],
  version: "1.0.0",
  is_idempotent: true, // a repeated call does no harm, so no record of keys is needed
};

function answer(task) {
  const [date] = task.match(/\d{4}-\d{2}-\d{2}/) ?? [];
  const day = new Date(`${date}T00:00:00Z`);
  if (Number.isNaN(day.valueOf()) || !day.toISOString().startsWith(date))
    return { text: "There is no date like 2026-11-21 in that.", outcome: "OUTCOME_NO_ANSWER" };
  const name = day.toLocaleDateString("en", { weekday: "long", timeZone: "UTC" });
  return { text: `${date} is a ${name}.`, outcome: "OUTCOME_ANSWERED" };
}

const server = new grpc.Server();
new HealthImplementation({ "": "SERVING" }).addToServer(server);
server.addService(waystation.capability.v1.CapabilityService.service, {
  Describe: (call, done) => done(null, { descriptor }),
  Invoke: (call) => {
    call.write({ result: answer(call.request.task) });
    call.end();
  },
});

const control = process.env.WAYSTATION_CONTROL_ADDRESS ?? "127.0.0.1:7400";
const registry = new waystation.control.v1.RegistryService(control, grpc.credentials.createInsecure());
const instance_id = `weekdays-${randomUUID()}`;
const ask = (method, request) =>
  new Promise((resolve, reject) => {
    const done = (error, reply) => (error ? reject(error) : resolve(reply));
    registry[method]({ instance_id, ...request }, { deadline: Date.now() + 3000 }, done);
  });

async function keepLease(address) {
  for (;;) {
    try {
      const granted = await ask("Register", { address, kind: "capability", descriptor, pid: process.pid });
      const { seconds, nanos } = granted.heartbeat_interval;
      for (;;) {
        await ask("Heartbeat");
        await sleep(seconds * 1000 + nanos / 1e6);
      }
    } catch (error) {
      console.error(`not registered: ${error.message}`); // control is away, or has forgotten us: register again
      await sleep(1000);
    }
  }
}

async function leave() {
  await ask("Deregister").catch(() => {});
  server.tryShutdown(() => process.exit()); // the calls under way end first
}

server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  keepLease(`127.0.0.1:${port}`);
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, leave);
