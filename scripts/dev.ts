/** npm run dev: wrangler's dev server, which rebuilds on every change. A change cuts all streams; `npm start` does not watch. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { NO_NETWORK, ROOT, WRANGLER } from "../tools/bundle.ts";
import { guard, signalGroup } from "../tools/child-process.ts";
import { exitCode, misused, onEnd } from "../tools/command-line.ts";

/** wrangler ends within 0.1 s; whoever waits longer wants it gone. */
const GRACE_MS = 3_000;

if (!existsSync(join(ROOT, ".dev.vars")) && !existsSync(join(ROOT, ".env"))) {
  misused(`.dev.vars is missing: the development server reads its secrets there. Make it with

  echo "API_KEYS=default=sk-$(openssl rand -hex 24)" > .dev.vars

and add ORIGIN_API_KEY=… if your llama-server wants a key. Git ignores the file.
To just try the gateway, npm start needs no preparation.`);
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
guard(wrangler, { group: true });
onEnd(() => {
  signalGroup(wrangler, "SIGTERM");
  setTimeout(() => signalGroup(wrangler, "SIGKILL"), GRACE_MS).unref();
});
wrangler.on("exit", (code, signal) => {
  signalGroup(wrangler, "SIGKILL");
  process.exit(exitCode(code, signal));
});
