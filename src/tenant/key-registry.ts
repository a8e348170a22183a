/** The issued keys of one tenant, by the SHA-256 of their id: name, dates, scopes, own limits. Few, so all are in memory. */
import type { Sql, SqlColumn } from "../storage/sql.ts";
import { hasLimits } from "./limits.ts";
import { type KeyAnswer, type KeyEntry, type Limits, OWNER_KEY, type Scope } from "./messages.ts";
import { storedLimits } from "./stored-json.ts";

/** Far more than a tenant has people and devices. */
export const MAX_KEYS = 1_000;
export const DAY_MS = 86_400_000;
const NAME = /^[A-Za-z0-9_.-]{1,64}$/;

export interface IssuedKeyEntry {
  readonly hash: string;
  readonly name: string;
  readonly createdAt: number;
  /** Days since 1970: to the day, so that a request does not cost a row. */
  usedDay: number | undefined;
  readonly expiresAt: number | undefined;
  readonly scopes: readonly Scope[];
  limits: Limits;
}

interface KeyRow extends Record<string, SqlColumn> {
  hash: string;
  name: string;
  created_at: number;
  used_day: number | null;
  expires_at: number | null;
  scopes: string;
  limits: string;
}

export function isKeyName(name: string): boolean {
  return NAME.test(name) && name !== OWNER_KEY;
}

export class KeyRegistry {
  readonly #sql: Sql;
  readonly #keys = new Map<string, IssuedKeyEntry>();

  constructor(sql: Sql, hasTables: boolean) {
    this.#sql = sql;
    if (!hasTables) return;
    for (const row of sql.all<KeyRow>("SELECT * FROM key")) this.#keys.set(row.hash, entryOf(row));
  }

  get count(): number {
    return this.#keys.size;
  }

  get haveLimits(): boolean {
    return this.all().some(({ limits }) => hasLimits(limits));
  }

  all(): IssuedKeyEntry[] {
    return Array.from(this.#keys.values());
  }

  named(name: string): IssuedKeyEntry | undefined {
    return this.all().find((entry) => entry.name === name);
  }

  /** The entry of a key that holds now; removed and expired ones are nobody's. */
  find(hash: string, now: number): IssuedKeyEntry | undefined {
    const entry = this.#keys.get(hash);
    return entry && holdsAt(entry, now) ? entry : undefined;
  }

  add(entry: IssuedKeyEntry): void {
    this.#keys.set(entry.hash, entry);
    this.#write(entry);
  }

  setLimits(entry: IssuedKeyEntry, limits: Limits): void {
    entry.limits = limits;
    this.#write(entry);
  }

  remove(entry: IssuedKeyEntry): void {
    this.#keys.delete(entry.hash);
    this.#sql.run("DELETE FROM key WHERE hash = ?", entry.hash);
  }

  /** Writes once a day. */
  use(entry: IssuedKeyEntry, now: number): void {
    const day = Math.floor(now / DAY_MS);
    if (entry.usedDay === day) return;
    entry.usedDay = day;
    this.#write(entry);
  }

  /** Expired keys stay listed for `keptMs`, so that the owner sees why one stopped. */
  expire(now: number, keptMs: number): void {
    for (const entry of this.all()) {
      if (entry.expiresAt !== undefined && entry.expiresAt + keptMs <= now) this.remove(entry);
    }
  }

  #write({ hash, name, createdAt, usedDay, expiresAt, scopes, limits }: IssuedKeyEntry): void {
    this.#sql.run(
      `INSERT OR REPLACE INTO key (hash, name, created_at, used_day, expires_at, scopes, limits)
       VALUES (?, ?, ?, ?, ?, ?, ?)`,
      hash,
      name,
      createdAt,
      usedDay ?? null,
      expiresAt ?? null,
      scopes.join(" "),
      JSON.stringify(limits),
    );
  }
}

/** Whether the key has not expired. */
export function holdsAt({ expiresAt }: { readonly expiresAt?: number | undefined }, now: number): boolean {
  return expiresAt === undefined || expiresAt > now;
}

export function keyAnswer(entry: IssuedKeyEntry | undefined): KeyAnswer {
  if (!entry) return { isKnown: false, name: "", scopes: [] };
  const { name, scopes, expiresAt } = entry;
  return { isKnown: true, name, scopes, ...(expiresAt !== undefined && { expiresAt }) };
}

export function keyEntry({ name, createdAt, usedDay, expiresAt, scopes, limits }: IssuedKeyEntry): KeyEntry {
  return {
    name,
    created_at: Math.floor(createdAt / 1_000),
    last_used_at: usedDay === undefined ? null : (usedDay * DAY_MS) / 1_000,
    expires_at: expiresAt === undefined ? null : Math.floor(expiresAt / 1_000),
    scopes,
    limits,
  };
}

export function isScope(value: unknown): value is Scope {
  return value === "read" || value === "generate";
}

function entryOf(row: KeyRow): IssuedKeyEntry {
  return {
    hash: row.hash,
    name: row.name,
    createdAt: row.created_at,
    usedDay: row.used_day ?? undefined,
    expiresAt: row.expires_at ?? undefined,
    scopes: row.scopes.split(" ").filter(isScope),
    limits: storedLimits(row.limits),
  };
}
