/**
 * Bindings, parsed once per isolate into a Config. The only place that reads the environment's strings; every default
 * and its reason stand beside the variable in wrangler.toml.
 */
import { Keyring } from "./auth.ts";
import { ApiError } from "./errors.ts";
import { type OriginConfig, parseOrigins } from "./origin/origins-config.ts";
import { isTenantName } from "./tenant/keys.ts";

export interface Config {
  /** At least one. */
  readonly origins: readonly OriginConfig[];
  readonly keyring: Keyring;
  /** How long an ended session can be replayed, milliseconds. */
  readonly sessionTtlMs: number;
  /** Replayable bytes kept per session. */
  readonly retainedBytes: number;
  readonly maxRequestBytes: number;
  /** Bytes of request bodies that one tenant's unanswered requests may hold in an isolate. */
  readonly maxTenantRequestBytes: number;
  /** How long a live session waits for its origin to be there again, milliseconds. */
  readonly reconnectMs: number;
  /** How long the origin may be connected and send nothing, milliseconds. */
  readonly originIdleMs: number;
  /** How long one answer may take, milliseconds. */
  readonly maxGenerationMs: number;
  /** Origin routes the owner opened, as `METHOD:/path`; a trailing `*` stands for any rest of the path. */
  readonly extraRoutes: readonly string[];
  /** What a tenant may store where its owner has set no limit, bytes. */
  readonly tenantStoredBytes: number;
  /** Without one there are no admin routes. */
  readonly adminKey: string | undefined;
  /** Issued keys are signed by the first, and verified by all. */
  readonly keySecrets: readonly string[];
  /** Whose page a browser gets that opens the gateway's address. */
  readonly ui: "page" | "origin";
}

/** Cloudflare takes 100 MB at most on its lower plans, and an isolate has 128 MB for everything. */
const MOST_REQUEST_BYTES = 100_000_000;

/** 128 bits in hexadecimal: who guesses the secret makes keys. */
const LEAST_SECRET_LENGTH = 32;

/** Shorter keys are guessed, or are another thing than the key: a name, a flag's value that slipped. */
const LEAST_KEY_LENGTH = 16;

/** Keys that we have published: whoever has read that would be let in. */
const EXAMPLE_KEYS = ["sk-for-development-only"];

/** The Config of these bindings, or what is wrong with them: settled once, and logged once, per isolate. */
const parsed = new WeakMap<object, Config | Misconfiguration>();

/** A setting cannot be used. Whoever asks hears its name; its value and the details are for the log. */
export class Misconfiguration extends ApiError {
  readonly setting: string;

  constructor(setting: string, details: string) {
    super(500, "server_error", `The gateway is misconfigured: ${setting} is wrong; see its log`, {
      cause: new Error(`${setting}${details}`),
    });
    this.setting = setting;
  }
}

/** Throws a Misconfiguration. */
export function configOf(env: Env): Config {
  const settled = settledConfig(env);
  if (settled instanceof Misconfiguration) throw settled;
  return settled;
}

/** Why these bindings cannot be used, `undefined` if they can. */
export function problemOf(env: Env): Misconfiguration | undefined {
  const settled = settledConfig(env);
  return settled instanceof Misconfiguration ? settled : undefined;
}

function settledConfig(env: Env): Config | Misconfiguration {
  let settled = parsed.get(env);
  if (!settled) {
    settled = tryParse(env);
    parsed.set(env, settled);
  }
  return settled;
}

function tryParse(env: Env): Config | Misconfiguration {
  try {
    return parseConfig(env);
  } catch (error) {
    if (!(error instanceof Misconfiguration)) throw error;
    if (error.cause instanceof Error) console.error(error.cause.message);
    return error;
  }
}

/** The browser origins that may call, whatever else is wrong: the errors that say so are for browsers too. */
export function corsOriginsOf(env: Pick<Env, "CORS_ORIGINS">): readonly string[] {
  return words(env.CORS_ORIGINS);
}

/** Whose page a browser gets that opens the gateway's address: ours, whatever is wrong. */
export function uiOf(env: Env): Config["ui"] {
  const settled = settledConfig(env);
  return settled instanceof Misconfiguration ? "page" : settled.ui;
}

/** What the environment holds that is no string. */
type Binding = "CONVERSATION" | "TENANT" | "DIRECTORY" | "FAILED_KEYS" | "USAGE";

export function parseConfig(env: Omit<Env, Binding>): Config {
  const maxRequestBytes = wholeNumber("MAX_REQUEST_BYTES", env.MAX_REQUEST_BYTES, 1_024, MOST_REQUEST_BYTES);
  const secrets = keySecrets(env.KEY_SECRET);
  return {
    origins: parseOrigins(env, (setting, details) => new Misconfiguration(setting, details)),
    sessionTtlMs: 1000 * wholeNumber("SESSION_TTL_SECONDS", env.SESSION_TTL_SECONDS, 1, 30 * 86_400),
    // Below 64 KiB a log could not even hold one write batch; a Durable Object holds 10 GB.
    retainedBytes: wholeNumber("RETAINED_BYTES", env.RETAINED_BYTES, 65_536, 2 ** 30),
    maxRequestBytes,
    maxTenantRequestBytes: wholeNumber(
      "MAX_TENANT_REQUEST_BYTES",
      env.MAX_TENANT_REQUEST_BYTES,
      maxRequestBytes,
      MOST_REQUEST_BYTES,
    ),
    reconnectMs: 1000 * wholeNumber("RECONNECT_SECONDS", env.RECONNECT_SECONDS, 1, 86_400),
    originIdleMs: 1000 * wholeNumber("ORIGIN_IDLE_SECONDS", env.ORIGIN_IDLE_SECONDS, 1, 86_400),
    maxGenerationMs: 1000 * wholeNumber("MAX_GENERATION_SECONDS", env.MAX_GENERATION_SECONDS, 1, 7 * 86_400),
    extraRoutes: extraRoutes(env.EXTRA_ROUTES),
    tenantStoredBytes: wholeNumber("TENANT_STORED_BYTES", env.TENANT_STORED_BYTES, 0, 2 ** 50),
    adminKey: adminKey(env.ADMIN_KEY),
    keySecrets: secrets,
    ui: ui(env.UI),
    // The last one: a gateway without keys is up all the same, and one with another fault is not.
    keyring: new Keyring(apiKeys(env.API_KEYS, secrets.length > 0), secrets),
  };
}

/** `mayBeNone`: where keys can be issued, none need stand in the settings. */
function apiKeys(value: string | undefined, mayBeNone: boolean): Map<string, string> {
  const keys = new Map<string, string>();
  for (const pair of (value ?? "").split(/[\s,]+/).filter(Boolean)) {
    const at = pair.indexOf("=");
    const tenant = pair.slice(0, at);
    const key = pair.slice(at + 1);
    if (at < 0) throw new Misconfiguration("API_KEYS", " must be `tenant=key` pairs; one of them is not");
    // Not shown: the two halves may have changed places.
    if (!isTenantName(tenant)) {
      throw new Misconfiguration("API_KEYS", ": a tenant must be 1 to 64 of A-Z a-z 0-9 _ . -");
    }
    const problem = keyProblem(key);
    if (problem) throw new Misconfiguration("API_KEYS", `: the key of tenant "${tenant}" ${problem}`);
    if (keys.has(key) && keys.get(key) !== tenant) {
      const both = `tenants "${keys.get(key)}" and "${tenant}"`;
      throw new Misconfiguration("API_KEYS", `: ${both} have the same key`);
    }
    keys.set(key, tenant);
  }
  if (keys.size === 0 && !mayBeNone) throw new Misconfiguration("API_KEYS", " is empty; set it to `tenant=key` pairs");
  return keys;
}

/** A quote or a semicolon in it is a sign that the pairs were written for another program. */
function keyProblem(key: string): string | undefined {
  if (EXAMPLE_KEYS.includes(key)) return "is a published example; make one of your own: openssl rand -hex 24";
  if (/["'`;]/.test(key)) return "has a quote or a semicolon; pairs are separated by blanks or commas, without quotes";
  if (key.length < LEAST_KEY_LENGTH) return `has ${key.length} characters; the minimum is ${LEAST_KEY_LENGTH}`;
  return undefined;
}

function adminKey(value: string | undefined): string | undefined {
  if (!value) return undefined;
  if (value.length >= LEAST_KEY_LENGTH) return value;
  throw new Misconfiguration("ADMIN_KEY", ` has ${value.length} characters; the minimum is ${LEAST_KEY_LENGTH}`);
}

/** One, or during a change two: the first signs, both verify. */
function keySecrets(value: string | undefined): string[] {
  const secrets = words(value);
  if (secrets.length > 2) throw new Misconfiguration("KEY_SECRET", ` holds ${secrets.length} values; it may hold two`);
  if (secrets.some((secret) => secret.length < LEAST_SECRET_LENGTH)) {
    throw new Misconfiguration("KEY_SECRET", `: each value must have at least ${LEAST_SECRET_LENGTH} characters`);
  }
  return secrets;
}

function extraRoutes(value: string | undefined): string[] {
  return words(value).map((route) => {
    if (!/^[A-Z]+:\/.*$/.test(route)) throw new Misconfiguration("EXTRA_ROUTES", `: "${route}" is not METHOD:/path`);
    return route;
  });
}

function ui(value: string): Config["ui"] {
  if (value === "page" || value === "origin") return value;
  throw new Misconfiguration("UI", ` must be "page" or "origin", got "${value}"`);
}

function wholeNumber(name: string, value: string, least: number, most: number): number {
  const number = /^[0-9]+$/.test(value) ? Number(value) : Number.NaN;
  if (!(number >= least && number <= most)) {
    throw new Misconfiguration(name, ` must be a whole number from ${least} to ${most}, got "${value}"`);
  }
  return number;
}

function words(value: string | undefined): string[] {
  return (value ?? "").split(/[\s,]+/).filter(Boolean);
}
