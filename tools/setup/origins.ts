/**
 * The llama-servers that the person names, as the Worker's settings.
 *
 *   one, on a hostname                        ORIGIN_URL, and the secret ORIGIN_API_KEY
 *   several, or behind Access, or by a VPC    ORIGINS, which names the secrets with the keys
 *
 * Both stand in wrangler.toml, from where every later deploy takes them: a deploy sets all variables of that file, and so
 * it would put an empty ORIGINS in the place of a secret of that name.
 */

export interface GivenOrigin {
  name: string;
  url: string;
  /** llama-server's --api-key. */
  key?: string | undefined;
  access?: { id: string; secret: string } | undefined;
  /** The id of a VPC service: the origin is then on no public hostname. */
  vpc?: string | undefined;
}

export interface OriginSettings {
  /** For [vars] of wrangler.toml. */
  vars: { ORIGIN_URL?: string; ORIGINS: string };
  vpcServices: { binding: string; serviceId: string }[];
  secrets: Record<string, string>;
}

const LOOPBACK = /^(localhost|127\.|\[::1\]|0\.0\.0\.0)/;

/** Why Cloudflare cannot use this address, if so. */
export function urlProblem(value: string): string | undefined {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.search || url.hash) {
    return `must be an https URL such as https://llama.example.com, got "${value}"`;
  }
  if (LOOPBACK.test(url.hostname)) {
    return `is ${url.hostname}, which is this machine: Cloudflare does not reach it. npm run setup -- --tunnel makes a way`;
  }
  if (url.hostname.endsWith(".trycloudflare.com")) {
    return "is a Quick Tunnel, which holds streamed answers back until they end: npm run setup -- --tunnel makes a named one";
  }
  return undefined;
}

/** `NAME=URL`, or `URL` of the origin that is named by its place. */
export function parseOrigin(text: string, place: number): { name: string; url: string } {
  const [, name, url] = /^([A-Za-z0-9][A-Za-z0-9_.-]{0,31})=(.*)$/.exec(text) ?? [];
  if (name !== undefined && url !== undefined) return { name, url: url.replace(/\/+$/, "") };
  return { name: place === 0 ? "default" : `origin${place + 1}`, url: text.replace(/\/+$/, "") };
}

export function originSettings(origins: readonly GivenOrigin[]): OriginSettings {
  const [only, ...others] = origins;
  if (only !== undefined && others.length === 0 && !only.access && !only.vpc) {
    return {
      vars: { ORIGIN_URL: only.url, ORIGINS: "" },
      vpcServices: [],
      secrets: only.key === undefined ? {} : { ORIGIN_API_KEY: only.key },
    };
  }
  const settings: OriginSettings = { vars: { ORIGINS: "" }, vpcServices: [], secrets: {} };
  settings.vars.ORIGINS = JSON.stringify(origins.map((origin) => entryOf(origin, settings)));
  return settings;
}

/** The entry of ORIGINS; what it names is added to `settings`. */
function entryOf({ name, url, key, access, vpc }: GivenOrigin, settings: OriginSettings): Record<string, string> {
  const upper = bindingPrefix(name);
  const named = (suffix: string, value: string) => {
    settings.secrets[`${upper}_${suffix}`] = value;
    return `${upper}_${suffix}`;
  };
  if (vpc !== undefined) settings.vpcServices.push({ binding: `${upper}_VPC`, serviceId: vpc });
  return {
    name,
    url,
    ...(vpc !== undefined && { via: `${upper}_VPC` }),
    ...(key !== undefined && { apiKey: named("KEY", key) }),
    ...(access && {
      accessClientId: named("ACCESS_ID", access.id),
      accessClientSecret: named("ACCESS_SECRET", access.secret),
    }),
  };
}

/** Begins the names of an origin's secrets and binding: apart from all other settings, whatever the origin is called. */
export function bindingPrefix(name: string): string {
  return `ORIGIN_${name.toUpperCase().replace(/[^A-Z0-9]/g, "_")}`;
}

/** wrangler.toml with these in it; everything else, comments too, stays as it is. */
export function withOrigins(toml: string, { vars, vpcServices }: OriginSettings): string {
  const changed = Object.entries(vars).reduce((text, [name, value]) => withVariable(text, name, value), toml);
  return vpcServices.reduce(withService, changed);
}

/** Its value is on one line or, as docs/origins.md shows a list, between three quotes. */
function withVariable(toml: string, name: string, value: string): string {
  const there = new RegExp(`^${name} = (?:'''[\\s\\S]*?'''|.*)$`, "m");
  if (!there.test(toml)) throw new Error(`wrangler.toml has no line ${name} = …`);
  // People read it: JSON is best between quotes that it does not have.
  const literal = value.includes('"') && !value.includes("'") ? `'${value}'` : JSON.stringify(value);
  return toml.replace(there, () => `${name} = ${literal}`);
}

function withService(toml: string, { binding, serviceId }: OriginSettings["vpcServices"][number]): string {
  const block = `[[vpc_services]]\nbinding = "${binding}"\nservice_id = ${JSON.stringify(serviceId)}\n`;
  const there = new RegExp(`\\[\\[vpc_services\\]\\]\\nbinding = "${binding}"\\nservice_id = .*\\n`);
  return there.test(toml) ? toml.replace(there, () => block) : `${toml.trimEnd()}\n\n${block}`;
}
