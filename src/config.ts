/**
 * Bindings, parsed once per isolate into a Config. The only place that reads the environment's strings; every default
 * and its reason stand beside the variable in wrangler.toml.
 */
import { Keyring } from "./auth.ts";
import { ApiError } from "./errors.ts";

export interface Config {
  readonly origin: OriginConfig;
  readonly keyring: Keyring;
  /** How long an ended session can be replayed, milliseconds. */
  readonly sessionTtlMs: number;
  /** Replayable bytes kept per session. */
  readonly retainedBytes: number;
  readonly maxRequestBytes: number;
  /** How long a live session waits for its origin to be there again, milliseconds. */
  readonly reconnectMs: number;
  /** How long the origin may be connected and send nothing, milliseconds. */
  readonly originIdleMs: number;
  /** How long one answer may take, milliseconds. */
  readonly maxGenerationMs: number;
  /** Origin routes the owner opened, as `METHOD:/path`; a trailing `*` stands for any rest of the path. */
  readonly extraRoutes: readonly string[];
  readonly corsOrigins: readonly string[];
}

export interface OriginConfig {
  /** Without a trailing slash. */
  readonly url: string;
  readonly apiKey: string | undefined;
}

/** A tenant is the first half of an object's name, `tenant/conversation`: no slash, and short. */
const TENANT = /^[A-Za-z0-9_.-]{1,64}$/;

const parsed = new WeakMap<object, Config>();

/** The Config of these bindings. Throws an ApiError 500 whose cause names the variable that is wrong. */
export function configOf(env: Env): Config {
  let config = parsed.get(env);
  if (!config) {
    config = logFault(() => parseConfig(env));
    parsed.set(env, config);
  }
  return config;
}

export function parseConfig(env: Omit<Env, "CONVERSATION">): Config {
  return {
    origin: { url: originUrl(env.ORIGIN_URL), apiKey: env.ORIGIN_API_KEY || undefined },
    keyring: new Keyring(apiKeys(env.API_KEYS)),
    sessionTtlMs: 1000 * wholeNumber("SESSION_TTL_SECONDS", env.SESSION_TTL_SECONDS, 1, 30 * 86_400),
    // Below 64 KiB a log could not even hold one write batch; a Durable Object holds 10 GB.
    retainedBytes: wholeNumber("RETAINED_BYTES", env.RETAINED_BYTES, 65_536, 2 ** 30),
    // Cloudflare takes 100 MB at most on its lower plans, and an isolate has 128 MB for everything.
    maxRequestBytes: wholeNumber("MAX_REQUEST_BYTES", env.MAX_REQUEST_BYTES, 1_024, 100_000_000),
    reconnectMs: 1000 * wholeNumber("RECONNECT_SECONDS", env.RECONNECT_SECONDS, 1, 86_400),
    originIdleMs: 1000 * wholeNumber("ORIGIN_IDLE_SECONDS", env.ORIGIN_IDLE_SECONDS, 1, 86_400),
    maxGenerationMs: 1000 * wholeNumber("MAX_GENERATION_SECONDS", env.MAX_GENERATION_SECONDS, 1, 7 * 86_400),
    extraRoutes: extraRoutes(env.EXTRA_ROUTES),
    corsOrigins: words(env.CORS_ORIGINS),
  };
}

function originUrl(value: string): string {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.search || url.hash) {
    throw misconfigured(`ORIGIN_URL must be an http or https URL without query, got "${value}"`);
  }
  return url.href.replace(/\/+$/, "");
}

function apiKeys(value: string | undefined): Map<string, string> {
  const keys = new Map<string, string>();
  for (const pair of (value ?? "").split(/[\s,]+/).filter(Boolean)) {
    const at = pair.indexOf("=");
    const tenant = pair.slice(0, at);
    const key = pair.slice(at + 1);
    if (at < 0) throw misconfigured("API_KEYS must be `tenant=key` pairs; one of them is not");
    // Not shown: the two halves may have changed places.
    if (!TENANT.test(tenant)) throw misconfigured("API_KEYS: a tenant must be 1 to 64 of A-Z a-z 0-9 _ . -");
    if (!/[A-Za-z0-9]{2}/.test(key)) throw misconfigured(`API_KEYS: the key of tenant "${tenant}" is no key`);
    if (keys.has(key) && keys.get(key) !== tenant) {
      throw misconfigured(`API_KEYS: tenants "${keys.get(key)}" and "${tenant}" have the same key`);
    }
    keys.set(key, tenant);
  }
  if (keys.size === 0) throw misconfigured("API_KEYS is empty; set it to `tenant=key` pairs");
  return keys;
}

function extraRoutes(value: string | undefined): string[] {
  return words(value).map((route) => {
    if (!/^[A-Z]+:\/.*$/.test(route)) throw misconfigured(`EXTRA_ROUTES: "${route}" is not METHOD:/path`);
    return route;
  });
}

function wholeNumber(name: string, value: string, least: number, most: number): number {
  const number = /^[0-9]+$/.test(value) ? Number(value) : Number.NaN;
  if (!(number >= least && number <= most)) {
    throw misconfigured(`${name} must be a whole number from ${least} to ${most}, got "${value}"`);
  }
  return number;
}

function words(value: string | undefined): string[] {
  return (value ?? "").split(/[\s,]+/).filter(Boolean);
}

/** The details are for the log: whoever asks has not shown a key yet. */
function logFault<Value>(parse: () => Value): Value {
  try {
    return parse();
  } catch (error) {
    console.error(error instanceof Error && error.cause instanceof Error ? error.cause.message : error);
    throw error;
  }
}

function misconfigured(message: string): ApiError {
  const cause = new Error(message);
  return new ApiError(500, "server_error", "The gateway's configuration is wrong; its log says what", { cause });
}
