/** npm run dev: wrangler's dev server, which rebuilds on every change. A change cuts all streams; `npm start` does not watch. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { join, resolve } from "node:path";
import { NO_NETWORK, WRANGLER } from "./gateway.ts";

const ROOT = resolve(import.meta.dirname, "..");
/** wrangler ends within 0.1 s; whoever waits longer wants it gone. */
const GRACE_MS = 3_000;

if (!existsSync(join(ROOT, ".dev.vars")) && !existsSync(join(ROOT, ".env"))) {
  console.error(`holdfast: .dev.vars is missing: the development server reads its secrets there. Make it with

  echo 'API_KEYS = "default=sk-dev"' > .dev.vars

and add ORIGIN_API_KEY = "…" if your llama-server wants a key. Git ignores the file.
To just try the gateway, npm start needs no preparation.`);
  process.exit(2);
}

const wrangler = spawn(
  process.execPath,
  [WRANGLER, "dev", "--show-interactive-dev-session=false", ...process.argv.slice(2)],
  {
    cwd: ROOT,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, ...NO_NETWORK },
    // A chain of processes that a killed middle would leave behind: one group, ended as one.
    detached: true,
  },
);

function signalGroup(signal: NodeJS.Signals): void {
  if (wrangler.pid === undefined) return;
  try {
    process.kill(-wrangler.pid, signal);
  } catch {
    // All of them are gone already.
  }
}

function end(): void {
  signalGroup("SIGTERM");
  setTimeout(() => signalGroup("SIGKILL"), GRACE_MS).unref();
}

process.on("SIGINT", end);
process.on("SIGTERM", end);
process.on("SIGHUP", end);
// scripts/bootstrap.mjs was killed.
process.on("disconnect", end);
wrangler.on("exit", (code, signal) => {
  signalGroup("SIGKILL");
  process.exit(signal === null ? (code ?? 1) : 128 + constants.signals[signal]);
});
