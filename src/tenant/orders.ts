/** What the owner sees of a tenant, and changes: keys and limits. */
import { holdsAt, keyEntry, MAX_KEYS } from "./key-registry.ts";
import type { Ledger } from "./ledger.ts";
import { parseLimits } from "./limits.ts";
import type { NewKey, OrderAnswer, TenantEntry } from "./messages.ts";

export function entryOf({ tenant, limits, keys, index }: Ledger): TenantEntry {
  return { tenant, limits, keys: keys.all().map(keyEntry), live: index.liveCount, kept_bytes: index.keptBytes };
}

/** An expired key makes room for one of the same name. */
export function addKey(ledger: Ledger, { hash, name, scopes, expiresAt, limits }: NewKey): OrderAnswer {
  const known = ledger.keys.named(name);
  if (known && holdsAt(known, ledger.now)) return { problem: "exists" };
  if (!known && ledger.keys.count >= MAX_KEYS) return { problem: "too_many" };
  if (known) ledger.keys.remove(known);
  ledger.keysToWrite.add({ hash, name, createdAt: ledger.now, usedDay: undefined, expiresAt, scopes, limits });
  return {};
}

/** Of the named key, or without a name of the tenant: `null` takes a limit away, those not named stay. */
export function setLimits(ledger: Ledger, changes: object, name: string | undefined): OrderAnswer {
  const key = name === undefined ? undefined : ledger.keys.named(name);
  if (name !== undefined && !key) return { problem: "unknown" };
  const limits = parseLimits({ ...(key?.limits ?? ledger.limits), ...changes });
  if (typeof limits === "string") return { problem: "invalid", message: limits };
  if (key) ledger.keys.setLimits(key, limits);
  else ledger.limits = limits;
  return {};
}

export function removeKey(ledger: Ledger, name: string): OrderAnswer {
  const key = ledger.keys.named(name);
  if (!key) return { problem: "unknown" };
  ledger.keys.remove(key);
  return {};
}
