/**
 * npm start, and the package's `holdfast`: the gateway on this machine, in front of a llama-server, or of the built-in
 * demo origin where there is none.
 *
 *   options, settings ─▶ origin (given, found on port 8080, or the demo) ─▶ bundle ─▶ workerd ─▶ how to try it
 *
 * Talks to nobody but the origin, and npm's registry where workerd is not here yet (tools/workerd.ts). Owns workerd and
 * the demo origin: they end when we do, and go on at the next start.
 */
import { accessSync, constants, existsSync, mkdirSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { join, relative, resolve } from "node:path";
import { startDemoOrigin } from "../demo/origin.ts";
import { parseConfig } from "../src/config.ts";
import { ROOT } from "../tools/bundle.ts";
import { exitCode, fail, fromEnvironment, misused, onEnd, readOptions } from "../tools/command-line.ts";
import { type Gateway, gatewayOn, StorageInUse, startGateway } from "../tools/gateway.ts";
import { ALL_ADDRESSES, LOOPBACK, lanAddresses, terminalQrCode } from "../tools/invitation.ts";
import { INVOCATION, workerBundle } from "../tools/invocation.ts";
import {
  ADMIN_KEY_FILE,
  KEY_SECRET_FILE,
  keepSecret,
  keptSecret,
  newSecret,
  readSecret,
} from "../tools/kept-secret.ts";
import { type NamedOrigin, namedOrigin, originsSetting, secretsNamedIn } from "../tools/named-origins.ts";
import { checkOrigin, originWarning } from "../tools/origin-check.ts";
import { PortInUse, requireFreePort } from "../tools/ports.ts";
import { removeOlderWorkerds, requireWorkerd } from "../tools/workerd.ts";
import { wranglerServices, wranglerVars } from "../tools/workerd-config.ts";

const OTHERWISE = INVOCATION.withoutNpm
  ? `Without npm, from any folder: ${INVOCATION.withoutNpm.start} [options]\n`
  : `Other commands: ${INVOCATION.key}, ${INVOCATION.conformance}, ${INVOCATION.install}; each has a --help.\n`;

const HELP = `Usage: ${INVOCATION.start} [options]

Runs the gateway on http://127.0.0.1:8787 in front of a llama-server.

  --origin URL       the llama-server. Without it: the one on http://127.0.0.1:8080 if it answers,
                     else a built-in demo origin with pre-written answers
                     Several: --origin attic=URL --origin cellar=URL2, each with a name (docs/origins.md)
  --origin-key KEY   the API key that the llama-server was started with (--api-key)
  --port N           where the gateway listens (8787)
  --host ADDRESS     who can reach it: 127.0.0.1, this machine only (the default), or 0.0.0.0, every device in your
                     networks, over plain HTTP: then a link and a code sign a phone in
  --key KEY          the API key that clients send, instead of the generated one
  --storage DIR      where the conversations are kept (${INVOCATION.storageInHelp})
  --help             this text

Environment: API_KEYS, more keys, as "tenant=key tenant2=key2"; ORIGIN_API_KEY, as --origin-key; ADMIN_KEY and KEY_SECRET,
instead of those in the storage, with which ${INVOCATION.key} issues keys; any setting of wrangler.toml's [vars] under its name,
as in SESSION_TTL_SECONDS=600; the secrets that ORIGINS names.
Other users of this machine see --key and --origin-key in the list of processes. They do not see the environment: use
ORIGIN_API_KEY, and API_KEYS="default=KEY" or the generated key.
${OTHERWISE}`;

const USUAL_LLAMA_SERVER = "http://127.0.0.1:8080";
/** A server on this machine answers in a few milliseconds, unless it is busy loading a model. */
const PROBE_MS = 500;
/** A given origin may be far away, behind a tunnel. Asked while the bundle is built, which takes as long. */
const ORIGIN_CHECK_MS = 2_000;
/** Slow enough to watch, and to press Ctrl-C in the middle: 200 tokens take 12 s. */
const DEMO_PACE_MS = 60;
const CONVERSATION = "hello";
const API_KEY_FILE = "api-key";
const AFTERWARDS = "Answers that were running go on at the next start, if the origin still has them.";

/** Of `npm start --host 0.0.0.0` npm leaves us the address alone. */
const NPM_HINT = ' npm keeps those that do not stand behind the "--".';
const HINT = `${INVOCATION.start} --help shows the options.${INVOCATION.withoutNpm ? NPM_HINT : ""}`;

interface Options {
  origin: string | undefined;
  /** Given in its place. */
  origins: NamedOrigin[];
  originKey: string | undefined;
  host: string;
  port: number;
  key: string | undefined;
  storage: string;
}

interface Origin {
  url: string;
  description: string;
  /** What is wrong with it now, in a sentence for the user. */
  warning: Promise<string | undefined>;
}

await main().catch((error: Error) => {
  // A message of the system about a file needs no stack; anything else is a fault of ours.
  if ("code" in error && "path" in error) fail(`${error.message}. Another folder: ${INVOCATION.start} --storage DIR`);
  throw error;
});

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  // Before the first await: a signal during the build ends us, and with us what we started.
  let gateway: Gateway | undefined;
  let ending = false;
  const end = async (code: number) => {
    if (ending) return;
    ending = true;
    console.log(`\nholdfast: stopped.${gateway === undefined ? "" : ` ${AFTERWARDS}`}`);
    await gateway?.kill();
    process.exit(code);
  };
  onEnd((signal) => end(exitCode(null, signal)));

  // workerd and the Worker would tell too, but only after the build.
  const running = gatewayOn(options.storage);
  if (running) giveUp(new StorageInUse(options.storage, running));
  await requireFreePort(options.port, options.host).catch(giveUp);
  makeStorage(options.storage);
  const key = clientKey(options);
  const { vars, secrets } = await settings(options, key.value);
  const workerd = await requireWorkerd(say).catch(giveUp);
  const origin = await chooseOrigin(options, vars.ORIGINS);
  const bundle = await workerBundle(options.storage, say).catch(giveUp);

  say("starting workerd …");
  gateway = await startGateway({
    workerd,
    bundle,
    origin: origin.url,
    originKey: options.originKey,
    apiKeys: apiKeys(key.value),
    secrets,
    vars,
    services: await standIns(origin),
    host: options.host,
    port: options.port,
    storage: options.storage,
    log: join(options.storage, "gateway.log"),
  }).catch(giveUp);
  say(`ready after ${(performance.now() / 1000).toFixed(1)} s`);
  key.keep();
  removeOlderWorkerds();

  const warned = await origin.warning;
  if (warned !== undefined) say(`warning: ${warned}`);
  console.log(welcome(gateway.url, origin, options.storage, key));
  if (options.host !== LOOPBACK) console.log(invitation(options, key.value));
  console.log("\nCtrl-C here stops the gateway; conversations are kept for the next start.");

  const { code, signal } = await gateway.exited;
  if (ending) return;
  console.error(`\nholdfast: workerd ended (${signal ?? `exit code ${code}`}). ${lastPrinted(gateway)}`);
  process.exit(1);
}

/** The folder is private: whoever can read it can read every answer. */
function makeStorage(storage: string): void {
  if (existsSync(storage) && !statSync(storage).isDirectory()) misused(`--storage ${storage} is not a folder`);
  mkdirSync(storage, { recursive: true, mode: 0o700 });
  accessSync(storage, constants.W_OK | constants.X_OK);
}

function apiKeys(key: string): string {
  return `default=${key} ${process.env.API_KEYS ?? ""}`.trim();
}

/**
 * The variables that the environment sets in place of wrangler.toml's, if the Worker takes them: it would answer each
 * request with an error, but nobody reads that before the first one.
 */
async function settings(
  { origin, origins, originKey, storage }: Options,
  key: string,
): Promise<{ vars: Record<string, string>; secrets: Record<string, string> }> {
  const inFile = wranglerVars(await readFile(join(ROOT, "wrangler.toml"), "utf8"));
  const inEnvironment = Object.fromEntries(
    Object.keys(inFile).flatMap((name) => {
      const value = process.env[name];
      return value === undefined || name === "ORIGIN_URL" ? [] : [[name, value]];
    }),
  );
  // Those of wrangler.toml, as its ORIGIN_URL, are how Cloudflare reaches them.
  const given: Record<string, string> = { ORIGINS: "", ...inEnvironment };
  if (origins.length > 0) given.ORIGINS = originsSetting(origins, originKey && "ORIGIN_API_KEY");
  const owners = ownersSecrets(storage);
  const gateways = { ...owners, API_KEYS: apiKeys(key), ...(originKey !== undefined && { ORIGIN_API_KEY: originKey }) };
  const named = Object.fromEntries(
    secretsNamedIn(given.ORIGINS ?? "").flatMap((name) => {
      const value = process.env[name];
      return value === undefined || name in gateways ? [] : [[name, value]];
    }),
  );
  const url = origin ?? USUAL_LLAMA_SERVER;
  const env: Record<string, string> = { ...inFile, ...given, ORIGIN_URL: url, ...named, ...gateways };
  try {
    // Both are what wrangler.toml describes: a variable that is missing here is missing in the Worker too.
    parseConfig(env as Record<string, string> & Env);
  } catch (error) {
    if (!(error instanceof Error && error.cause instanceof Error)) throw error;
    misused(error.cause.message);
  }
  return { vars: given, secrets: { ...named, ...owners } };
}

/** What is a private way to the llama-server on Cloudflare (npm run setup -- --vpc) leads to the origin here. */
async function standIns(origin: Origin): Promise<Record<string, string>> {
  const names = wranglerServices(await readFile(join(ROOT, "wrangler.toml"), "utf8"));
  return Object.fromEntries(names.map((name) => [name, new URL(origin.url).origin]));
}

function parseOptions(args: string[]): Options {
  const given = readArguments(args);
  if (given.help) {
    console.log(HELP);
    process.exit(0);
  }
  const origins = (given.origin ?? []).flatMap((option) => namedOrigin(option) ?? []);
  const [origin, ...others] = (given.origin ?? []).filter((option) => namedOrigin(option) === undefined);
  if (origin !== undefined && !isOriginUrl(origin)) {
    misused(`--origin must be an http or https URL like ${USUAL_LLAMA_SERVER}, got "${origin}"\n${HINT}`);
  }
  if (origin !== undefined && origins.length + others.length > 0) {
    misused(`Of several origins each needs a name, as in --origin attic=${origin}\n${HINT}`);
  }
  const port = Number(given.port);
  if (!/^[0-9]+$/.test(given.port) || port < 1 || port > 65_535) {
    misused(`--port must be a number from 1 to 65535, got "${given.port}"\n${HINT}`);
  }
  if (isIP(given.host) !== 4) misused(`--host must be an IPv4 address, like 0.0.0.0, got "${given.host}"\n${HINT}`);
  if (given.key !== undefined && !/^[\x21-\x2b\x2d-\x7e]+$/.test(given.key)) {
    misused(
      `--key must be printable ASCII without blanks and commas, because API_KEYS separates keys by them\n${HINT}`,
    );
  }
  const here = [origin, ...origins.map(({ url }) => url)].find((url) => url !== undefined && pointsHere(url, port));
  if (here !== undefined) {
    misused(`--origin ${here} is this gateway itself; give the address of the llama-server\n${HINT}`);
  }
  return {
    origin: origin?.replace(/\/+$/, ""),
    origins,
    originKey: given["origin-key"] ?? fromEnvironment("ORIGIN_API_KEY"),
    host: given.host,
    port,
    key: given.key,
    storage: resolve(given.storage),
  };
}

function readArguments(args: string[]) {
  return readOptions(
    {
      args,
      options: {
        origin: { type: "string", multiple: true },
        "origin-key": { type: "string" },
        host: { type: "string", default: LOOPBACK },
        port: { type: "string", default: "8787" },
        key: { type: "string" },
        storage: { type: "string", default: INVOCATION.storage },
        help: { type: "boolean", short: "h", default: false },
      },
    },
    HINT,
  ).values;
}

function isOriginUrl(value: string): boolean {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  return url !== undefined && /^https?:$/.test(url.protocol) && url.search === "" && url.hash === "";
}

function pointsHere(origin: string, port: number): boolean {
  const url = URL.canParse(origin) ? new URL(origin) : undefined;
  if (url === undefined) return false;
  const loopback = ["127.0.0.1", "localhost", "[::1]"].includes(url.hostname);
  return loopback && Number(url.port || (url.protocol === "https:" ? 443 : 80)) === port;
}

/** `several`: the setting ORIGINS, which counts before all else. */
async function chooseOrigin({ origin, origins, originKey, storage }: Options, several?: string): Promise<Origin> {
  if (several) {
    const list = origins.map(({ name, url }) => `${name} ${url}`).join("\n            ");
    const warnings = origins.map(({ url }) => warningOf(url, originKey));
    const warning = Promise.all(warnings).then((all) => all.filter(Boolean).join("; ") || undefined);
    return { url: origin ?? USUAL_LLAMA_SERVER, description: list || "those of ORIGINS in the environment", warning };
  }
  if (origin !== undefined) {
    return { url: origin, description: origin, warning: warningOf(origin, originKey) };
  }
  const found = await checkOrigin(USUAL_LLAMA_SERVER, originKey, PROBE_MS);
  // Whatever else listens there, another gateway of ours too, does not call itself that.
  if (found.is !== "unreachable" && found.is !== "other" && found.server === "llama.cpp") {
    say(`found a llama-server on ${USUAL_LLAMA_SERVER}`);
    return {
      url: USUAL_LLAMA_SERVER,
      description: `${USUAL_LLAMA_SERVER} (found there; --origin URL for another)`,
      warning: Promise.resolve(originWarning(USUAL_LLAMA_SERVER, found, originKey !== undefined)),
    };
  }
  say(`no llama-server on ${USUAL_LLAMA_SERVER}: starting the demo origin, whose answers are pre-written`);
  const demo = await startDemoOrigin({ paceMs: DEMO_PACE_MS, journal: join(storage, "demo.json") });
  return {
    url: demo.url,
    description: `the built-in demo, no model: its answers are pre-written.
            For real ones: ${INVOCATION.start} --origin http://HOST:PORT`,
    warning: Promise.resolve(undefined),
  };
}

/** Asked while the bundle is built, which takes as long. */
async function warningOf(url: string, key: string | undefined): Promise<string | undefined> {
  return originWarning(url, await checkOrigin(url, key, ORIGIN_CHECK_MS), key !== undefined);
}

interface ClientKey {
  value: string;
  /** The header, as one word of a shell command. */
  header: string;
  /** The lines that tell the user, where there is something to tell. */
  lines: (url: string) => string | undefined;
  /** Where a browser opens the page: signed in, in the run that makes the key. */
  page: (url: string) => string;
  /** Call it before the key is shown. */
  keep: () => void;
}

/** The generated key is shown once, by the first run that gets so far: later logs and shared screens do not have it. */
function clientKey({ key, storage }: Options): ClientKey {
  const known = { page: (url: string) => `${url}/`, keep: () => {} };
  if (key !== undefined)
    return { ...known, value: key, header: quoted(`Authorization: Bearer ${key}`), lines: () => undefined };

  const file = join(storage, API_KEY_FILE);
  const header = `"Authorization: Bearer $(cat ${quoted(file)})"`;
  const stored = orFail(() => readSecret(storage, API_KEY_FILE));
  if (stored !== undefined) {
    const lines = (url: string) => `in ${shown(file)}; in a browser that does not have it yet, open what this prints:
            echo "${url}/#key=$(cat ${quoted(file)})"`;
    return { ...known, value: stored, header, lines };
  }
  const value = newSecret("sk-holdfast-");
  return {
    value,
    header,
    lines: () => `${value}\n            (kept in ${shown(file)}, which only you can read)`,
    page: (url) => signInLink(url, value),
    keep: () => keepSecret(storage, API_KEY_FILE, value),
  };
}

/** The page keeps the key, and takes it out of the address; what is behind `#` no browser sends to a server. */
function signInLink(url: string, key: string): string {
  return `${url}/#key=${encodeURIComponent(key)}`;
}

function invitation({ host, port }: Options, key: string): string {
  const addresses = host === ALL_ADDRESSES ? lanAddresses() : [host];
  const [link, ...others] = addresses.map((address) => signInLink(`http://${address}:${port}`, key));
  if (link === undefined) return "\nThis machine has no address in a network: no other device can reach the gateway.";
  const more = others.map((other) => `  or        ${other}\n`).join("");
  const code = process.stdout.isTTY ? `\n${terminalQrCode(link)}\n` : "";
  return `
On a phone in the same network, scan this or open the link. It signs the phone in with your key:
${code}
  phone     ${link}
${more}
This is plain HTTP: whoever is in this network can read along, keys too. Use it at home, and never on the internet;
over HTTPS nobody reads along, and the phone can install the page (README, "On Cloudflare").`;
}

/** With these the owner issues keys (scripts/key.ts). */
function ownersSecrets(storage: string): Record<string, string> {
  return {
    ADMIN_KEY: process.env.ADMIN_KEY ?? orFail(() => keptSecret(storage, ADMIN_KEY_FILE, "hfadmin-")).value,
    KEY_SECRET: process.env.KEY_SECRET ?? orFail(() => keptSecret(storage, KEY_SECRET_FILE)).value,
  };
}

function orFail<Value>(work: () => Value): Value {
  try {
    return work();
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
}

function welcome(url: string, origin: Origin, storage: string, key: ClientKey): string {
  const keyLines = key.lines(url);
  const body = { messages: [{ role: "user", content: "hi" }], stream: true, max_tokens: 200 };
  return `
  gateway   ${url}
  origin    ${origin.description}
  storage   ${shown(storage)}  (log: ${shown(join(storage, "gateway.log"))})
${keyLines === undefined ? "" : `  API key   ${keyLines}\n`}
Chat in a browser. In the middle of an answer reload the page (F5), or close it and come back:

  ${key.page(url)}

Or in a second terminal: start an answer and stop it half-way with Ctrl-C:

  curl -N ${url}/v1/chat/completions -H ${key.header} \\
    -H 'Content-Type: application/json' -H 'X-Conversation-Id: ${CONVERSATION}' \\
    -d '${JSON.stringify(body)}'

It goes on without you. In the middle of it stop this gateway too (Ctrl-C here), and start it again: the answer goes on
where it was. Read all of it, from the first byte:

  curl -N "${url}/v1/stream/${CONVERSATION}?from=0" -H ${key.header}`;
}

/** Safe in any place of a shell command. */
function quoted(word: string): string {
  return /^[\w./:@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Short where it is below the folder that the user started us in. */
function shown(path: string): string {
  const short = relative(process.cwd(), path);
  return short.startsWith("..") ? path : short;
}

function lastPrinted(gateway: Gateway): string {
  const printed = gateway.logs().trim();
  return printed === "" ? "It had printed nothing." : `The last it printed:\n\n${printed}`;
}

function say(line: string): void {
  console.log(`holdfast: ${line}`);
}

function giveUp(error: Error): never {
  if (error instanceof PortInUse)
    return fail(`${error.message}. Another one: ${INVOCATION.start} --port ${error.port + 1}`);
  if (error instanceof StorageInUse) {
    const { url, pid } = error.by;
    return fail(
      `A gateway of this folder already runs at ${url} (process ${pid}). Use that one, or end it (Ctrl-C where it was ` +
        `started); for a second one beside it: ${INVOCATION.start} --storage DIR --port N`,
    );
  }
  return fail(error.message);
}
