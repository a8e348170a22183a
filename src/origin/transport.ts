/** How a request reaches one origin: its URL, the binding in front of it, and the keys that are for it alone. */
import type { OriginConfig } from "./origins-config.ts";

/** Never follows a redirect: the keys in the headers are for this origin. */
export function fetchOrigin(
  origin: OriginConfig,
  path: string,
  init: RequestInit & { headers: Headers },
): Promise<Response> {
  const { apiKey, access, via } = origin;
  const { headers } = init;
  if (apiKey !== undefined) headers.set("Authorization", `Bearer ${apiKey}`);
  if (access) {
    headers.set("CF-Access-Client-Id", access.clientId);
    headers.set("CF-Access-Client-Secret", access.clientSecret);
  }
  const request = { ...init, redirect: "manual" } as const;
  return via ? via.fetch(origin.url + path, request) : fetch(origin.url + path, request);
}

/** Those of `headers` that are listed: what is not goes no further. */
export function pickHeaders(headers: Headers, names: readonly string[]): Headers {
  const picked = new Headers();
  for (const name of names) {
    const value = headers.get(name);
    if (value !== null) picked.set(name, value);
  }
  return picked;
}
