// Puts the built server with its assets under dist/<build>/ and turns the link dist/current to it in one step. A server
// that runs goes on with the build it was started with; the two builds before are kept for it, older ones go.
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";

const KEPT = 3;
const root = join(import.meta.dirname, "..");
const dist = join(root, "dist");
const build = `build-${readFileSync(join(root, ".next/BUILD_ID"), "utf8").trim()}`;
const target = join(dist, build);

mkdirSync(dist, { recursive: true });
rmSync(target, { recursive: true, force: true });
cpSync(join(root, ".next/standalone"), target, { recursive: true });
cpSync(join(root, ".next/static"), join(target, ".next/static"), { recursive: true });
if (existsSync(join(root, "public"))) cpSync(join(root, "public"), join(target, "public"), { recursive: true });
cpSync(join(import.meta.dirname, "serve.mjs"), join(target, "serve.mjs"));

const link = join(dist, `current.${process.pid}`);
symlinkSync(build, link);
renameSync(link, join(dist, "current"));

const builds = readdirSync(dist).filter((name) => name.startsWith("build-"));
const age = (name) => statSync(join(dist, name)).ctimeMs;
for (const old of builds.sort((a, b) => age(b) - age(a)).slice(KEPT)) {
  rmSync(join(dist, old), { recursive: true, force: true });
}
