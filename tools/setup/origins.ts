/**
 * The llama-servers that the person names, as the Worker's settings.
 *
 *   one, on a hostname                        ORIGIN_URL in wrangler.toml, ORIGIN_API_KEY
 *   several, or behind Access, or by a VPC    ORIGINS, a secret that names the secrets with the keys
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
  /** For wrangler.toml. */
  originUrl: string | undefined;
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
      originUrl: only.url,
      vpcServices: [],
      secrets: only.key === undefined ? {} : { ORIGIN_API_KEY: only.key },
    };
  }
  const settings: OriginSettings = { originUrl: undefined, vpcServices: [], secrets: {} };
  const list = origins.map((origin) => entryOf(origin, settings));
  settings.secrets.ORIGINS = JSON.stringify(list);
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
export function withOrigins(toml: string, { originUrl, vpcServices }: OriginSettings): string {
  const line = /^ORIGIN_URL = .*$/m;
  if (originUrl !== undefined && !line.test(toml)) throw new Error("wrangler.toml has no line ORIGIN_URL = …");
  const changed =
    originUrl === undefined ? toml : toml.replace(line, () => `ORIGIN_URL = ${JSON.stringify(originUrl)}`);
  return vpcServices.reduce(withService, changed);
}

function withService(toml: string, { binding, serviceId }: OriginSettings["vpcServices"][number]): string {
  const block = `[[vpc_services]]\nbinding = "${binding}"\nservice_id = ${JSON.stringify(serviceId)}\n`;
  const there = new RegExp(`\\[\\[vpc_services\\]\\]\\nbinding = "${binding}"\\nservice_id = .*\\n`);
  return there.test(toml) ? toml.replace(there, () => block) : `${toml.trimEnd()}\n\n${block}`;
}
