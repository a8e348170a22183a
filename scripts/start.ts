/**
 * npm start: the gateway on this machine, in front of a llama-server, or of the built-in demo origin where there is none.
 *
 *   options ─▶ origin (given, found on port 8080, or the demo) ─▶ bundle ─▶ workerd ─▶ two curl commands to try it
 *
 * Talks to nobody but the origin. Owns workerd and the demo origin: they end when we do.
 */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { startDemoOrigin } from "../demo/origin.ts";
import { buildBundle } from "../tools/bundle.ts";
import { exitCode, fail, misused, onEnd, readOptions } from "../tools/command-line.ts";
import { type Gateway, startGateway } from "../tools/gateway.ts";
import { PortInUse, requireFreePort } from "../tools/ports.ts";

const HELP = `Usage: npm start -- [options]

Runs the gateway on http://127.0.0.1:8787 in front of a llama-server.

  --origin URL       the llama-server. Without it: the one on http://127.0.0.1:8080 if it answers,
                     else a built-in demo origin with canned answers
  --origin-key KEY   the API key that the llama-server was started with (--api-key)
  --port N           where the gateway listens, on 127.0.0.1 (8787)
  --key KEY          the API key that clients send, instead of the generated one
  --storage DIR      where the conversations are kept (.holdfast)
  --help             this text

Environment: API_KEYS, more keys, as "tenant=key tenant2=key2"; ORIGIN_API_KEY, as --origin-key.
Without npm: node scripts/bootstrap.mjs scripts/start.ts [options]
`;

const USUAL_LLAMA_SERVER = "http://127.0.0.1:8080";
/** A server on this machine answers in a few milliseconds, unless it is busy loading a model. */
const PROBE_MS = 500;
/** A given origin may be far away, behind a tunnel. Asked while the bundle is built, which takes as long. */
const ORIGIN_CHECK_MS = 2_000;
/** Slow enough to watch, and to press Ctrl-C in the middle: 200 tokens take 12 s. */
const DEMO_PACE_MS = 60;
const CONVERSATION = "hello";

const HINT = "npm start -- --help shows the options.";

interface Options {
  origin: string | undefined;
  originKey: string | undefined;
  port: number;
  key: string | undefined;
  storage: string;
}

interface Origin {
  url: string;
  description: string;
}

/** An origin's answer to `GET /health`. */
type Health = "ok" | "loading" | "other" | "silent";

await main();

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  // Before the first await: a signal during the build ends us, and with us what we started.
  let gateway: Gateway | undefined;
  let ending = false;
  const end = async (code: number) => {
    if (ending) return;
    ending = true;
    await gateway?.kill();
    process.exit(code);
  };
  onEnd((signal) => end(exitCode(null, signal)));

  // workerd would tell too, but only after the build.
  await requireFreePort(options.port).catch(giveUp);
  const origin = await chooseOrigin(options);
  const warning = options.origin === undefined ? undefined : warningAbout(options.origin);
  say("building the Worker …");
  const bundle = await buildBundle(join(options.storage, "bundle")).catch(giveUp);

  say("starting workerd …");
  const key = clientKey(options);
  gateway = await startGateway({
    bundle,
    origin: origin.url,
    originKey: options.originKey,
    apiKeys: `default=${key.value} ${process.env.API_KEYS ?? ""}`.trim(),
    port: options.port,
    storage: options.storage,
    log: join(options.storage, "gateway.log"),
  }).catch(giveUp);
  say(`ready after ${(performance.now() / 1000).toFixed(1)} s`);

  const warned = await warning;
  if (warned !== undefined) say(`warning: ${warned}`);
  console.log(welcome(gateway.url, origin, options.storage, key));

  const { code, signal } = await gateway.exited;
  if (ending) return;
  console.error(`\nholdfast: workerd ended (${signal ?? `exit code ${code}`}). ${lastPrinted(gateway)}`);
  process.exit(1);
}

function parseOptions(args: string[]): Options {
  const given = readArguments(args);
  if (given.help) {
    console.log(HELP);
    process.exit(0);
  }
  if (given.origin !== undefined && !isOriginUrl(given.origin)) {
    misused(`--origin must be an http or https URL like ${USUAL_LLAMA_SERVER}, got "${given.origin}"\n${HINT}`);
  }
  const port = Number(given.port);
  if (!/^[0-9]+$/.test(given.port) || port < 1 || port > 65_535) {
    misused(`--port must be a number from 1 to 65535, got "${given.port}"\n${HINT}`);
  }
  if (given.key !== undefined && !/^[\x21-\x2b\x2d-\x7e]+$/.test(given.key)) {
    misused(
      `--key must be printable ASCII without blanks and commas, because API_KEYS separates keys by them\n${HINT}`,
    );
  }
  if (given.origin !== undefined && pointsHere(given.origin, port)) {
    misused(`--origin ${given.origin} is this gateway itself; give the address of the llama-server\n${HINT}`);
  }
  return {
    origin: given.origin?.replace(/\/+$/, ""),
    originKey: given["origin-key"] ?? process.env.ORIGIN_API_KEY,
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
        origin: { type: "string" },
        "origin-key": { type: "string" },
        port: { type: "string", default: "8787" },
        key: { type: "string" },
        storage: { type: "string", default: ".holdfast" },
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
  const url = new URL(origin);
  const loopback = ["127.0.0.1", "localhost", "[::1]"].includes(url.hostname);
  return loopback && Number(url.port || (url.protocol === "https:" ? 443 : 80)) === port;
}

async function chooseOrigin(options: Options): Promise<Origin> {
  if (options.origin !== undefined) return { url: options.origin, description: options.origin };

  const found = await healthOf(USUAL_LLAMA_SERVER, PROBE_MS);
  // Whatever else listens there, another gateway of ours too, does not call itself that.
  if (found.server === "llama.cpp" && (found.health === "ok" || found.health === "loading")) {
    const state = found.health === "loading" ? ", which is still loading its model" : "";
    say(`found a llama-server on ${USUAL_LLAMA_SERVER}${state}`);
    return { url: USUAL_LLAMA_SERVER, description: `${USUAL_LLAMA_SERVER} (found there; --origin URL for another)` };
  }
  const demo = await startDemoOrigin({ port: 0, paceMs: DEMO_PACE_MS });
  say(`no llama-server on ${USUAL_LLAMA_SERVER}: starting the demo origin, whose answers are canned`);
  return {
    url: demo.url,
    description: `the built-in demo, no model: its answers are canned.\n            For real ones: npm start -- --origin http://HOST:PORT`,
  };
}

async function warningAbout(origin: string): Promise<string | undefined> {
  const { health } = await healthOf(origin, ORIGIN_CHECK_MS);
  switch (health) {
    case "ok":
      return undefined;
    case "loading":
      return `${origin} is still loading its model; requests fail until it is done`;
    case "other":
      return `${origin} answers, but GET /health does not look like a llama-server`;
    case "silent":
      return `${origin} does not answer now; requests fail until it does`;
  }
}

async function healthOf(origin: string, limitMs: number): Promise<{ health: Health; server: string | null }> {
  try {
    const answer = await fetch(`${origin}/health`, { signal: AbortSignal.timeout(limitMs) });
    const server = answer.headers.get("server");
    return { health: healthIn(answer.status, await answer.text()), server };
  } catch {
    // Refused, cut or too slow: for us all the same.
    return { health: "silent", server: null };
  }
}

function healthIn(status: number, body: string): Health {
  if (status === 200 && /"status"\s*:\s*"ok"/.test(body)) return "ok";
  if (status === 503 && body.includes("Loading model")) return "loading";
  return "other";
}

interface ClientKey {
  value: string;
  /** The header, as one word of a shell command. */
  header: string;
  /** The line that tells the user, where there is something to tell. */
  line: string | undefined;
}

/** The generated key is shown once, by the run that makes it: later logs and shared screens do not have it. */
function clientKey({ key, storage }: Options): ClientKey {
  if (key !== undefined) return { value: key, header: quoted(`Authorization: Bearer ${key}`), line: undefined };

  const file = join(storage, "api-key");
  const header = `"Authorization: Bearer $(cat ${quoted(file)})"`;
  if (existsSync(file)) {
    const value = readFileSync(file, "utf8").trim();
    if (value === "") fail(`${file} is empty. Delete it, and a new key is made.`);
    return { value, header, line: `in ${shown(file)}` };
  }
  const value = `sk-holdfast-${randomBytes(16).toString("hex")}`;
  mkdirSync(storage, { recursive: true });
  writeFileSync(file, `${value}\n`, { mode: 0o600 });
  return {
    value,
    header,
    line: `${value}\n            (shown this once; kept in ${shown(file)}, which only you can read)`,
  };
}

function welcome(url: string, origin: Origin, storage: string, key: ClientKey): string {
  const body = { messages: [{ role: "user", content: "hi" }], stream: true, max_tokens: 200 };
  return `
  gateway   ${url}
  origin    ${origin.description}
  storage   ${shown(storage)}  (log: ${shown(join(storage, "gateway.log"))})
${key.line === undefined ? "" : `  API key   ${key.line}\n`}
In a second terminal, start an answer and stop it half-way with Ctrl-C:

  curl -N ${url}/v1/chat/completions -H ${key.header} \\
    -H 'Content-Type: application/json' -H 'X-Conversation-Id: ${CONVERSATION}' \\
    -d '${JSON.stringify(body)}'

It goes on without you. Read all of it, from the first byte:

  curl -N "${url}/v1/stream/${CONVERSATION}?from=0" -H ${key.header}

Ctrl-C here stops the gateway; what it keeps is there again after the next start.`;
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
  if (error instanceof PortInUse) return fail(`${error.message}. Another one: npm start -- --port ${error.port + 1}`);
  return fail(error.message);
}
