/**
 * API key → caller, the way llama-server takes keys: `Authorization: Bearer k`, `Authorization: k`, `X-Api-Key: k`,
 * `X-Api-Key: Bearer k`. A wrong `Authorization` is final: `X-Api-Key` is then not looked at.
 *
 * Two kinds of keys: the owner's, written in API_KEYS, and issued ones, which carry their proof (tenant/keys.ts). Here it
 * is settled whether a key was ever given out, without asking anybody; whether an issued one still holds, its tenant's
 * object knows (tenant/door.ts).
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { ApiError, INVALID_KEY_MESSAGE } from "./errors.ts";
import { verifyKey } from "./tenant/keys.ts";

/** Whom a key belongs to. Everything a tenant names is found under this name only. */
export type Tenant = string;

export interface Caller {
  readonly tenant: Tenant;
  /** Of an issued key; `undefined` for a key of API_KEYS, which holds as long as it stands there. */
  readonly keyHash: string | undefined;
}

/** The known keys, as digests: the time a comparison takes then tells neither a key's length nor how much was right. */
export class Keyring {
  readonly #entries: readonly { tenant: Tenant; digest: Uint8Array }[];
  readonly #secrets: readonly string[];

  /** @param keys API key → tenant  @param secrets that issued keys are signed with */
  constructor(keys: ReadonlyMap<string, Tenant>, secrets: readonly string[] = []) {
    this.#entries = Array.from(keys, ([key, tenant]) => ({ tenant, digest: sha256(key) }));
    this.#secrets = secrets;
  }

  /** Tenants that API_KEYS names. */
  get tenants(): readonly Tenant[] {
    return Array.from(new Set(this.#entries.map(({ tenant }) => tenant)));
  }

  /** Whose key the request shows, or `undefined` when it is nobody's. */
  authenticate(headers: Headers): Caller | undefined {
    const key = presentedKey(headers);
    return key === undefined ? undefined : this.#find(key);
  }

  #find(key: string): Caller | undefined {
    const tenant = this.#findOwn(key);
    if (tenant !== undefined) return { tenant, keyHash: undefined };
    const issued = verifyKey(key, this.#secrets);
    return issued && { tenant: issued.tenant, keyHash: issued.hash };
  }

  /** Compares with every key, so that the time does not tell which one it was. */
  #findOwn(key: string): Tenant | undefined {
    const digest = sha256(key);
    let found: Tenant | undefined;
    for (const entry of this.#entries) {
      if (timingSafeEqual(digest, entry.digest)) found = entry.tenant;
    }
    return found;
  }
}

/** llama-server's own. */
export function invalidKey(): ApiError {
  return new ApiError(401, "authentication_error", INVALID_KEY_MESSAGE);
}

/** Whether the request shows exactly this key, the owner's key to the admin routes. */
export function showsKey(headers: Headers, key: string): boolean {
  const shown = presentedKey(headers);
  return shown !== undefined && timingSafeEqual(sha256(shown), sha256(key));
}

function presentedKey(headers: Headers): string | undefined {
  const header = headers.get("Authorization") ?? headers.get("X-Api-Key") ?? undefined;
  return header?.startsWith("Bearer ") ? header.slice("Bearer ".length) : header;
}

function sha256(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
