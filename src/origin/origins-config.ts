/**
 * ORIGINS: the llama-servers behind the gateway, as JSON; or, where there is one only, ORIGIN_URL and ORIGIN_API_KEY.
 *
 *   [{ "name": "attic", "url": "https://attic.example.com", "models": ["qwen*"], "weight": 2, "via": "ATTIC",
 *      "apiKey": "ATTIC_KEY", "accessClientId": "ATTIC_ID", "accessClientSecret": "ATTIC_SECRET" }, …]
 *
 * `via` names a binding; the last three name secrets, whose values are never shown. Everything but name and url may be left
 * out. A field that cannot be used is an error that names it, and one that is not known too: it may be a slip of the pen.
 */

export interface OriginConfig {
  readonly name: string;
  /** Without a trailing slash. */
  readonly url: string;
  /** What its requests go through; `undefined`: the internet. */
  readonly via: Transport | undefined;
  /** Globs of the models that may be asked of it, `*` is any text; empty: any model. */
  readonly models: readonly string[];
  /** Its share of the conversations, relative to the others'. */
  readonly weight: number;
  readonly apiKey: string | undefined;
  /** Cloudflare Access's service token. */
  readonly access: { readonly clientId: string; readonly clientSecret: string } | undefined;
}

/** A binding that can be asked like the internet: a VPC service or network, another Worker. */
export interface Transport {
  fetch(url: string, init?: RequestInit): Promise<Response>;
}

/** Makes the error that says which setting is wrong, and how. */
export type Wrong = (setting: string, details: string) => Error;

/** The name of the origin of ORIGIN_URL, and of the sessions from before origins had names where ORIGINS has this one. */
export const SINGLE_ORIGIN = "default";

/** Each is asked for its models, and listed in the merged answer. */
const MAX_ORIGINS = 32;
/** It stands in headers, log lines and records. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$/;
const MAX_WEIGHT = 1_000;
const MAX_GLOBS = 100;
const FIELDS = ["name", "url", "via", "models", "weight", "apiKey", "accessClientId", "accessClientSecret"];

type Fields = Readonly<Record<string, unknown>>;

/** `bindings`: all of the environment, for what ORIGINS names. At least one origin; throws what `wrong` makes. */
export function parseOrigins(bindings: object, wrong: Wrong): readonly OriginConfig[] {
  const env: Fields = { ...bindings };
  const text = env.ORIGINS;
  if (text === undefined || text === "") return [singleOrigin(env, wrong)];
  const list = typeof text === "string" ? parseJson(text, wrong) : text;
  if (!Array.isArray(list) || list.length === 0) throw wrong("ORIGINS", " must be a JSON array of at least one origin");
  if (list.length > MAX_ORIGINS) {
    throw wrong("ORIGINS", ` has ${list.length} origins; the limit is ${MAX_ORIGINS}`);
  }
  const origins = list.map((item: unknown, i) => parseOrigin(item, `ORIGINS[${i}]`, env, wrong));
  for (const [i, { name }] of origins.entries()) {
    const first = origins.findIndex((other) => other.name === name);
    if (first < i) throw wrong(`ORIGINS[${i}].name`, ` "${name}" is the name of ORIGINS[${first}] too`);
  }
  return origins;
}

function singleOrigin(env: Fields, wrong: Wrong): OriginConfig {
  const apiKey = typeof env.ORIGIN_API_KEY === "string" ? env.ORIGIN_API_KEY || undefined : undefined;
  const url = baseUrl(env.ORIGIN_URL, "ORIGIN_URL", wrong);
  return { name: SINGLE_ORIGIN, url, via: undefined, models: [], weight: 1, apiKey, access: undefined };
}

function parseJson(text: string, wrong: Wrong): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw wrong("ORIGINS", ` is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function parseOrigin(item: unknown, at: string, env: Fields, wrong: Wrong): OriginConfig {
  if (typeof item !== "object" || item === null || Array.isArray(item)) throw wrong(at, " must be an object");
  const fields: Fields = { ...item };
  const unknown = Object.keys(fields).find((name) => !FIELDS.includes(name));
  if (unknown !== undefined) {
    throw wrong(`${at}.${unknown.slice(0, 40)}`, ` is no field of an origin; there are ${FIELDS.join(", ")}`);
  }
  const { name, weight = 1 } = fields;
  if (typeof name !== "string" || !NAME.test(name)) {
    throw wrong(`${at}.name`, " must be 1 to 32 of A-Z a-z 0-9 _ . -, the first a letter or digit");
  }
  if (typeof weight !== "number" || !(weight > 0 && weight <= MAX_WEIGHT)) {
    throw wrong(`${at}.weight`, ` must be a number above 0, at most ${MAX_WEIGHT}, got ${JSON.stringify(weight)}`);
  }
  const url = baseUrl(fields.url, `${at}.url`, wrong);
  const models = globs(fields.models, `${at}.models`, wrong);
  const apiKey = secret(fields, "apiKey", at, env, wrong);
  return { name, url, via: transport(fields.via, `${at}.via`, env, wrong), models, weight, apiKey, access: access() };

  function access(): OriginConfig["access"] {
    const clientId = secret(fields, "accessClientId", at, env, wrong);
    const clientSecret = secret(fields, "accessClientSecret", at, env, wrong);
    if (clientId !== undefined && clientSecret !== undefined) return { clientId, clientSecret };
    if (clientId === undefined && clientSecret === undefined) return undefined;
    const missing = clientId === undefined ? "accessClientId" : "accessClientSecret";
    throw wrong(`${at}.${missing}`, " is missing: an Access service token has an id and a secret");
  }
}

function baseUrl(value: unknown, setting: string, wrong: Wrong): string {
  const url = typeof value === "string" && URL.canParse(value) ? new URL(value) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.search || url.hash || url.username || url.password) {
    throw wrong(setting, ` must be an http or https URL without query and password, got ${JSON.stringify(value)}`);
  }
  return url.href.replace(/\/+$/, "");
}

function transport(value: unknown, setting: string, env: Fields, wrong: Wrong): Transport | undefined {
  if (value === undefined) return undefined;
  const binding = typeof value === "string" ? env[value] : undefined;
  if (isTransport(binding)) return binding;
  throw wrong(setting, ` must name a binding that has fetch (a VPC service or network, a service), got ${show(value)}`);
}

function isTransport(binding: unknown): binding is Transport {
  return typeof binding === "object" && binding !== null && "fetch" in binding && typeof binding.fetch === "function";
}

function globs(value: unknown, setting: string, wrong: Wrong): readonly string[] {
  if (value === undefined) return [];
  const isList = Array.isArray(value) && value.length > 0 && value.length <= MAX_GLOBS;
  if (!isList) throw wrong(setting, ` must be a list of 1 to ${MAX_GLOBS} model names, "*" in them is any text`);
  return value.map((glob: unknown, i) => {
    if (typeof glob !== "string" || glob === "")
      throw wrong(`${setting}[${i}]`, " must be a model's name or a pattern");
    return glob;
  });
}

/** Not shown when it is wrong: it may be the secret itself, in place of its name. */
function secret(fields: Fields, field: string, at: string, env: Fields, wrong: Wrong): string | undefined {
  const name = fields[field];
  if (name === undefined) return undefined;
  const value = typeof name === "string" ? env[name] : undefined;
  if (typeof value === "string" && value !== "") return value;
  throw wrong(`${at}.${field}`, " must be the name of a secret, and that secret must be set");
}

function show(value: unknown): string {
  return JSON.stringify(value)?.slice(0, 100) ?? "nothing";
}
