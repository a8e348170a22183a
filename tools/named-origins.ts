/** Several origins as `npm start` is told of them: `--origin name=URL` twice or more, or ORIGINS in the environment. */

export interface NamedOrigin {
  name: string;
  url: string;
}

/** `undefined`: not of the form `name=URL`. What a name or URL may be is for src/origin/origins-config.ts to say. */
export function namedOrigin(option: string): NamedOrigin | undefined {
  const [, name, url] = /^([^=/:]+)=(https?:.*)$/s.exec(option) ?? [];
  return name === undefined || url === undefined ? undefined : { name, url };
}

/** ORIGINS for these. `keySecret`: the name of the secret that holds the key of all of them. */
export function originsSetting(origins: readonly NamedOrigin[], keySecret: string | undefined): string {
  return JSON.stringify(
    origins.map((origin) => ({ ...origin, ...(keySecret !== undefined && { apiKey: keySecret }) })),
  );
}

/** The names of the secrets that an ORIGINS names; none where it is not as it should be, which its parser says. */
export function secretsNamedIn(origins: string): string[] {
  let list: unknown;
  try {
    list = JSON.parse(origins);
  } catch {
    return [];
  }
  const fields = ["apiKey", "accessClientId", "accessClientSecret"];
  const named = (Array.isArray(list) ? list : []).flatMap((origin: unknown) =>
    typeof origin === "object" && origin !== null
      ? Object.entries(origin).flatMap(([field, value]) => (fields.includes(field) ? [value] : []))
      : [],
  );
  return named.filter((name): name is string => typeof name === "string");
}
