/** npm run setup: the gateway on Cloudflare, step by step; with --tunnel the GPU's side of it. */
import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import { NO_NETWORK, ROOT, WRANGLER } from "../tools/bundle.ts";
import { fail, fromEnvironment, misused, onEnd, readOptions } from "../tools/command-line.ts";
import { localProblem } from "../tools/setup/local-server.ts";
import { bindingPrefix, type GivenOrigin, parseOrigin, urlProblem } from "../tools/setup/origins.ts";
import { setup } from "../tools/setup/setup.ts";
import { SetupError } from "../tools/setup/surroundings.ts";
import { tunnel } from "../tools/setup/tunnel.ts";

const HELP = `Usage: npm run setup -- [options]

Deploys the gateway to Cloudflare, sets its secrets, and checks that an answer streams through it. Asks for what it is not
given. Safe to run again.

  --origin URL       the llama-server as Cloudflare reaches it; NAME=URL, more than once, for several
  --vpc ID           reach the llama-server by this VPC service instead of a public name
  --name NAME        the Worker's name (holdfast)
  --url URL          the gateway's address, if it has a domain of its own
  --yes              ask nothing
  --dry-run          show every step and do none; needs no account

On the machine with the GPU:
  --tunnel           make a named tunnel to its llama-server (with cloudflared on the PATH), or print how
  --local URL        the llama-server there (http://127.0.0.1:8080)
  --hostname NAME    a public name for it, behind Cloudflare Access; without it a VPC service, which has none

Environment: HOLDFAST_KEY, a key of the gateway to check with, where its keys were set before (--key); ORIGIN_API_KEY,
the llama-server's --api-key (--origin-key; for several that option, in the order of --origin). npm prints the options,
and other users of this machine see them. CF_ACCESS_CLIENT_ID and CF_ACCESS_CLIENT_SECRET, the service token for an
origin behind Access; CLOUDFLARE_API_TOKEN, instead of a login.
`;
const HINT = "npm run setup -- --help shows the options.";
const LOCAL_LLAMA_SERVER = "http://127.0.0.1:8080";

const { values: options } = readOptions(
  {
    args: process.argv.slice(2),
    options: {
      origin: { type: "string", multiple: true, default: [] },
      "origin-key": { type: "string", multiple: true, default: [] },
      vpc: { type: "string" },
      name: { type: "string", default: "holdfast" },
      url: { type: "string" },
      key: { type: "string" },
      yes: { type: "boolean", default: false },
      "dry-run": { type: "boolean", default: false },
      tunnel: { type: "boolean", default: false },
      local: { type: "string", default: LOCAL_LLAMA_SERVER },
      hostname: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  },
  HINT,
);

onEnd(() => process.exit(130));
await main().catch((error: unknown) => {
  if (error instanceof SetupError) fail(error.message);
  throw error;
});
// Listening for the end of scripts/bootstrap.mjs keeps a process running.
process.exit(0);

async function main(): Promise<void> {
  if (options.help) return console.log(HELP);
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(options.name)) {
    misused(`--name must be 1 to 63 of a-z 0-9 -, got "${options.name}"\n${HINT}`);
  }
  if (options.tunnel) return await makeTunnel();
  const terminal =
    process.stdin.isTTY && !options.yes ? createInterface({ input: process.stdin, output: process.stdout }) : undefined;
  try {
    await setup(
      {
        worker: options.name,
        origins: givenOrigins(),
        url: options.url?.replace(/\/+$/, ""),
        key: options.key ?? fromEnvironment("HOLDFAST_KEY"),
        dryRun: options["dry-run"],
      },
      {
        root: ROOT,
        state: join(ROOT, ".holdfast/cloudflare", options.name),
        wrangler: [process.execPath, WRANGLER],
        env: { ...process.env, WRANGLER_SEND_METRICS: NO_NETWORK.WRANGLER_SEND_METRICS },
        ask: terminal && ((question) => terminal.question(question)),
        say: (line) => console.log(line),
        terminal: "inherit",
      },
    );
  } finally {
    terminal?.close();
  }
}

async function makeTunnel(): Promise<void> {
  const { name, local, hostname } = options;
  const problem = localProblem(local);
  if (problem !== undefined) misused(`--local ${problem}\n${HINT}`);
  if (hostname !== undefined && !/^[a-z0-9-]+(\.[a-z0-9-]+)+$/i.test(hostname)) {
    misused(`--hostname must be a name like llama.example.com, got "${hostname}"\n${HINT}`);
  }
  await tunnel(
    { name, local, hostname, dryRun: options["dry-run"] },
    { env: process.env, platform: process.platform, say: (line) => console.log(line) },
  );
}

function givenOrigins(): GivenOrigin[] {
  const { CF_ACCESS_CLIENT_ID: id, CF_ACCESS_CLIENT_SECRET: secret, ORIGIN_API_KEY } = process.env;
  if ((id === undefined) !== (secret === undefined))
    misused("CF_ACCESS_CLIENT_ID and CF_ACCESS_CLIENT_SECRET go together");
  const access = id !== undefined && secret !== undefined ? { id, secret } : undefined;
  // A VPC service leads to the port itself: the address is what llama-server sees as its host.
  const texts = options.origin.length === 0 && options.vpc !== undefined ? ["http://localhost"] : options.origin;
  const prefixes = texts.map((text, i) => bindingPrefix(parseOrigin(text, i).name));
  if (new Set(prefixes).size < texts.length) {
    misused(`--origin: the names must differ in more than case and punctuation, or they would share a key\n${HINT}`);
  }
  return texts.map((text, i) => {
    const { name, url } = parseOrigin(text, i);
    const problem = options.vpc === undefined ? urlProblem(url) : undefined;
    if (problem !== undefined) misused(`--origin ${problem}\n${HINT}`);
    return { name, url, key: options["origin-key"][i] ?? ORIGIN_API_KEY, access, vpc: options.vpc };
  });
}
