/**
 * Issued keys: `hf_<tenant>_` + 22 characters of random id + 22 of a MAC (base64url, 128 bits each).
 *
 *   hf _ alice _ 7dGr…22 _-Qk…22
 *                  id      HMAC-SHA-256(secret, "alice/id"), its first half
 *
 * A tenant's name may hold `_`, so the key is split by length, from the right. The MAC lets the Worker refuse what was
 * never issued without asking anybody; whether a key was removed only the tenant's object knows, by the id's SHA-256.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";

const PREFIX = "hf_";
const ID_BYTES = 16;
const MAC_BYTES = 16;
/** 16 bytes in base64url. */
const PART_LENGTH = 22;
/** A tenant is the first half of an object's name, `tenant/conversation`: no slash, and short. */
const TENANT = /^[A-Za-z0-9_.-]{1,64}$/;
const LONGEST = PREFIX.length + 64 + 1 + 2 * PART_LENGTH;

export interface IssuedKey {
  readonly tenant: string;
  /** Of the id, hexadecimal: all that is kept of a key. */
  readonly hash: string;
}

export function isTenantName(name: string): boolean {
  return TENANT.test(name);
}

/** A new key of the tenant, signed with the first of the secrets. */
export function issueKey(tenant: string, secrets: readonly string[]): { key: string; hash: string } {
  const [secret] = secrets;
  if (secret === undefined) throw new TypeError("A key cannot be signed without a secret");
  const id = base64url(crypto.getRandomValues(new Uint8Array(ID_BYTES)));
  return { key: `${PREFIX}${tenant}_${id}${mac(secret, tenant, id)}`, hash: hashOf(id) };
}

/** Whose key this is, or `undefined` when none of the secrets signed it. */
export function verifyKey(key: string, secrets: readonly string[]): IssuedKey | undefined {
  if (!key.startsWith(PREFIX) || key.length > LONGEST) return undefined;
  const idAt = key.length - 2 * PART_LENGTH;
  const tenant = key.slice(PREFIX.length, idAt - 1);
  if (key[idAt - 1] !== "_" || !isTenantName(tenant)) return undefined;
  const id = key.slice(idAt, idAt + PART_LENGTH);
  // As text: of the several spellings that decode to the same bytes only the one that was issued is right.
  const given = digest(key.slice(idAt + PART_LENGTH));
  let isRight = false;
  for (const secret of secrets) {
    if (timingSafeEqual(given, digest(mac(secret, tenant, id)))) isRight = true;
  }
  return isRight ? { tenant, hash: hashOf(id) } : undefined;
}

function mac(secret: string, tenant: string, id: string): string {
  const bytes = createHmac("sha256", secret).update(`${tenant}/${id}`).digest();
  return base64url(bytes.subarray(0, MAC_BYTES));
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replace(/=+$/, "");
}

function hashOf(id: string): string {
  return createHash("sha256").update(id).digest("hex");
}

/** Of one length, whatever was given. */
function digest(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
