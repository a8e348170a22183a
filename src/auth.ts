/**
 * API key → tenant, the way llama-server takes keys: `Authorization: Bearer k`, `Authorization: k`, `X-Api-Key: k`,
 * `X-Api-Key: Bearer k`. A wrong `Authorization` is final: `X-Api-Key` is then not looked at.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { ApiError } from "./errors.ts";

/** Whom a key belongs to. Everything a tenant names is found under this name only. */
export type Tenant = string;

/** The known keys, as digests: the time a comparison takes then tells neither a key's length nor how much was right. */
export class Keyring {
  readonly #entries: readonly { tenant: Tenant; digest: Uint8Array }[];

  /** @param keys API key → tenant */
  constructor(keys: ReadonlyMap<string, Tenant>) {
    this.#entries = Array.from(keys, ([key, tenant]) => ({ tenant, digest: sha256(key) }));
  }

  /** The tenant of the request's key. Throws llama-server's 401 when there is none. */
  authenticate(headers: Headers): Tenant {
    const key = presentedKey(headers);
    const tenant = key === undefined ? undefined : this.#find(key);
    if (tenant === undefined) throw new ApiError(401, "authentication_error", "Invalid API Key");
    return tenant;
  }

  /** Compares with every key, so that the time does not tell which one it was. */
  #find(key: string): Tenant | undefined {
    const digest = sha256(key);
    let found: Tenant | undefined;
    for (const entry of this.#entries) {
      if (timingSafeEqual(digest, entry.digest)) found = entry.tenant;
    }
    return found;
  }
}

function presentedKey(headers: Headers): string | undefined {
  const header = headers.get("Authorization") ?? headers.get("X-Api-Key") ?? undefined;
  return header?.startsWith("Bearer ") ? header.slice("Bearer ".length) : header;
}

function sha256(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
