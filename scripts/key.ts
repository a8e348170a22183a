/**
 * npm run key, and the package's `holdfast key`: the keys and limits of the people who use the gateway, through its
 * /v1/admin routes.
 *
 * The gateway is the one that runs on the usual storage folder, or the one at --url; the owner's key is ADMIN_KEY from the
 * environment, or the one that the gateway keeps in that folder. A new key is printed once: to standard output, alone, so
 * that it can be put into a file or a pipe.
 */
import { resolve } from "node:path";
import { fail, fromEnvironment, misused, readOptions } from "../tools/command-line.ts";
import { gatewayOn } from "../tools/gateway.ts";
import { INVOCATION } from "../tools/invocation.ts";
import { ADMIN_KEY_FILE, readSecret } from "../tools/kept-secret.ts";

const HELP = `Usage: ${INVOCATION.key} COMMAND [TENANT] [options]

  add TENANT         a new key; prints it once
  list [TENANT]      the tenants, or the keys and limits of one
  limits TENANT      sets limits, of the tenant or, with --name, of one key; without any it shows them
  remove TENANT      takes a key away: at once for new requests, within 10 s for reading

  --name NAME        the key's name (default)
  --expires TIME     add: until when it holds, as 12h, 90d or 52w (for ever)
  --read-only        add: it may read answers, models and usage, and start nothing
  --rpm N            requests accepted in any 60 s
  --live N           answers that run at the same time
  --bytes N          bytes of answers that may be stored
  --body N           bytes of a request
  --models A,B       models that may be asked for; * stands for anything
                     \`none\` takes a limit away; add sets them for the key
  --url URL          the gateway (the one that runs on the storage folder)
  --storage DIR      the gateway's storage folder (${INVOCATION.storageInHelp})
  --help             this text

Environment: ADMIN_KEY, the owner's key, where it is not the one in the storage folder.
${INVOCATION.withoutNpm ? `Without npm: ${INVOCATION.withoutNpm.key} COMMAND …\n` : ""}`;
const HINT = `${INVOCATION.key} --help shows the commands.`;

const USUAL_URL = "http://127.0.0.1:8787";
const DEFAULT_NAME = "default";
const SECONDS: Readonly<Record<string, number>> = { h: 3_600, d: 86_400, w: 604_800 };
const NUMBER_LIMITS = ["rpm", "live", "bytes", "body"] as const;

type Limits = Record<string, number | string[] | null>;

interface KeyEntry {
  name: string;
  created_at: number;
  last_used_at: number | null;
  expires_at: number | null;
  scopes: string[];
  limits: Limits;
}

interface TenantEntry {
  tenant: string;
  limits: Limits;
  keys: KeyEntry[];
  live: number;
  kept_bytes: number;
}

type Fields = Record<string, unknown>;

const { values: options, positionals } = readOptions(
  {
    args: process.argv.slice(2),
    allowPositionals: true,
    options: {
      name: { type: "string" },
      expires: { type: "string" },
      "read-only": { type: "boolean", default: false },
      rpm: { type: "string" },
      live: { type: "string" },
      bytes: { type: "string" },
      body: { type: "string" },
      models: { type: "string" },
      url: { type: "string" },
      storage: { type: "string", default: INVOCATION.storage },
      help: { type: "boolean", short: "h", default: false },
    },
  },
  HINT,
);

await main().catch((error: unknown) => fail(error instanceof Error ? error.message : String(error)));

async function main(): Promise<void> {
  if (options.help) {
    console.log(HELP);
    return;
  }
  const [command, tenant, ...more] = positionals;
  if (more.length > 0) misused(`What is "${more.join(" ")}"?\n${HINT}`);
  if (command === "list") return tenant === undefined ? await listTenants() : show(await entryOf(tenant));
  if (command !== "add" && command !== "limits" && command !== "remove") misused(`No such command\n${HINT}`);
  if (tenant === undefined) misused(`Whose key? ${INVOCATION.key} ${command} TENANT\n${HINT}`);
  if (command === "add") await add(tenant);
  else if (command === "limits") await changeLimits(tenant);
  else await remove(tenant);
}

async function add(tenant: string): Promise<void> {
  const body = {
    name: options.name ?? DEFAULT_NAME,
    expires_in: options.expires === undefined ? null : secondsOf(options.expires),
    scopes: options["read-only"] ? ["read"] : ["read", "generate"],
    limits: givenLimits(),
  };
  const { key } = await ask("POST", `/tenants/${encodeURIComponent(tenant)}/keys`, body);
  console.error(`Key "${body.name}" of tenant "${tenant}". It is shown this once; the gateway does not know it:`);
  console.log(key);
}

async function changeLimits(tenant: string): Promise<void> {
  const limits = givenLimits();
  if (Object.keys(limits).length === 0) return show(await entryOf(tenant));
  const path = options.name === undefined ? "" : `/keys/${encodeURIComponent(options.name)}`;
  show(await ask("PATCH", `/tenants/${encodeURIComponent(tenant)}${path}`, { limits }));
}

async function remove(tenant: string): Promise<void> {
  const name = options.name ?? DEFAULT_NAME;
  await ask("DELETE", `/tenants/${encodeURIComponent(tenant)}/keys/${encodeURIComponent(name)}`);
  console.error(`Key "${name}" of tenant "${tenant}" is removed. New requests are refused now, reading within 10 s.`);
}

async function listTenants(): Promise<void> {
  const { data } = await ask("GET", "/tenants");
  if (!Array.isArray(data)) throw new Error("This is no list of tenants");
  for (const tenant of data) show(await entryOf(String(tenant)));
}

function entryOf(tenant: string): Promise<Fields> {
  return ask("GET", `/tenants/${encodeURIComponent(tenant)}`);
}

function show(entry: Fields): void {
  if (!isTenantEntry(entry)) throw new Error(`This is no tenant: ${JSON.stringify(entry).slice(0, 200)}`);
  const { tenant, limits, keys, live, kept_bytes } = entry;
  console.log(`${tenant}  ${live} running, ${kept_bytes} bytes stored${described(limits)}`);
  for (const key of keys) {
    const used = key.last_used_at === null ? "never used" : `used ${day(key.last_used_at)}`;
    const until = key.expires_at === null ? "" : `, until ${day(key.expires_at)}`;
    const scopes = key.scopes.includes("generate") ? "" : ", read only";
    console.log(`  ${key.name}  made ${day(key.created_at)}, ${used}${until}${scopes}${described(key.limits)}`);
  }
}

function described(limits: Limits): string {
  const words = Object.entries(limits).map(([name, value]) => `${name} ${value}`);
  return words.length === 0 ? "" : `, limits: ${words.join(", ")}`;
}

function day(seconds: number): string {
  return new Date(1_000 * seconds).toISOString().slice(0, 10);
}

function givenLimits(): Limits {
  const limits: Limits = {};
  for (const name of NUMBER_LIMITS) {
    const given = options[name];
    if (given === undefined) continue;
    if (given !== "none" && !/^[0-9]+$/.test(given)) misused(`--${name} must be a whole number or none\n${HINT}`);
    limits[name] = given === "none" ? null : Number(given);
  }
  if (options.models !== undefined) {
    limits.models = options.models === "none" ? null : options.models.split(",").filter(Boolean);
  }
  return limits;
}

function secondsOf(text: string): number {
  const [, count, unit = ""] = /^([0-9]+)([hdw])$/.exec(text) ?? [];
  const seconds = SECONDS[unit];
  if (count === undefined || seconds === undefined)
    misused(`--expires must be like 12h, 90d or 52w, got "${text}"\n${HINT}`);
  return Number(count) * seconds;
}

/** Throws with what the gateway answered when it did not do it. */
async function ask(method: string, path: string, body?: unknown): Promise<Fields> {
  const storage = resolve(options.storage);
  const url = (options.url ?? gatewayOn(storage)?.url ?? USUAL_URL).replace(/\/+$/, "");
  const key = fromEnvironment("ADMIN_KEY") ?? readSecret(storage, ADMIN_KEY_FILE);
  if (key === undefined)
    throw new Error(`No ADMIN_KEY in the environment, and none in ${storage}: was the gateway started there?`);
  const answer = await fetch(`${url}/v1/admin${path}`, {
    method,
    headers: { Authorization: `Bearer ${key}` },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  }).catch((cause: unknown) => {
    throw new Error(`No gateway answers on ${url}`, { cause });
  });
  if (answer.ok) return answer.status === 204 ? {} : fieldsOf(await answer.json());
  throw new Error(await complaint(url, answer));
}

function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

function isTenantEntry(entry: object): entry is TenantEntry {
  return "tenant" in entry && "limits" in entry && "keys" in entry && Array.isArray(entry.keys);
}

async function complaint(url: string, answer: Response): Promise<string> {
  const message = messageIn(await answer.text());
  if (answer.status === 401) return `The gateway on ${url} has another ADMIN_KEY`;
  return message === "File Not Found" ? `The gateway on ${url} has no ADMIN_KEY, and so no such routes` : message;
}

/** llama-server's error shape, or the text as it is. */
function messageIn(text: string): string {
  try {
    return JSON.parse(text).error.message;
  } catch {
    // A proxy's page, or nothing.
    return text.slice(0, 500);
  }
}
