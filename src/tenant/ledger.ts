/**
 * All that a tenant's object knows and decides, without the object: keys, limits, exact counts, usage, the index of its
 * conversations. Every method is one turn: what it reads and what it writes belong together.
 *
 * Nothing is written before there is something to keep: the tables come with the first key, limit or session.
 */
import type { Sql } from "../storage/sql.ts";
import { Requests } from "./accepted-requests.ts";
import { ConversationIndex } from "./conversation-index.ts";
import { DAY_MS, type IssuedKeyEntry, KeyRegistry, keyAnswer } from "./key-registry.ts";
import { countSlots, Leases, slotOf } from "./leases.ts";
import { bodyLimitsOf, keyProblem, leastLeft, type Party, refusalOf } from "./limit-rules.ts";
import { hasLimits } from "./limits.ts";
import {
  type AdmitAnswer,
  type AdmitRequest,
  type EndedSession,
  type Hold,
  type IndexAnswer,
  type KeyAnswer,
  type Limits,
  type LiveSession,
  OWNER_KEY,
  type SessionUsage,
  type Standing,
  type StruckSession,
} from "./messages.ts";
import { createTables, hasTables, readMeta, writeMeta } from "./schema.ts";
import { storedLimits } from "./stored-json.ts";
import { USAGE_DAYS, UsageRows } from "./usage.ts";

/** Between two sweeps while something is live: how long a slot can leak, and how late a lost end is noticed. */
const SWEEP_MS = 60_000;

export interface LedgerOptions {
  readonly sql: Sql;
  readonly now: () => number;
  readonly tenant: string;
  /** The bound on stored bytes where the owner has set none. */
  readonly defaultBytes: number;
}

export class Ledger {
  readonly tenant: string;
  readonly #options: LedgerOptions;
  #hasTables: boolean;
  #limits: Limits;
  readonly #keys: KeyRegistry;
  readonly #index: ConversationIndex;
  readonly #leases: Leases;
  readonly #requests: Requests;
  readonly #usage: UsageRows;

  constructor(options: LedgerOptions) {
    const { sql, now } = options;
    this.#options = options;
    this.tenant = options.tenant;
    this.#hasTables = hasTables(sql);
    this.#limits = this.#hasTables ? storedLimits(readMeta(sql, "limits") ?? "{}") : {};
    this.#keys = new KeyRegistry(sql, this.#hasTables);
    this.#index = new ConversationIndex(sql, this.#hasTables);
    this.#leases = new Leases(sql, this.#hasTables, now());
    this.#requests = new Requests(sql, this.#hasTables, now());
    this.#usage = new UsageRows(sql);
  }

  /** Whether a request like this could be refused for answers that only seem to run: ask the conversations first. */
  needsTruth({ conversation, keyHash }: AdmitRequest): boolean {
    if (this.stale().length === 0) return false;
    const key = keyHash === undefined ? undefined : this.#keys.find(keyHash, this.now);
    return this.#parties(key, conversation).some(
      ({ limits, live }) => limits.live !== undefined && live >= limits.live,
    );
  }

  admit({ ticket, conversation, keyHash }: AdmitRequest): AdmitAnswer {
    const now = this.now;
    const key = keyHash === undefined ? undefined : this.#keys.find(keyHash, now);
    const name = key?.name ?? OWNER_KEY;
    if (keyHash !== undefined) {
      const problem = keyProblem(key);
      if (problem) return { key: name, isLimited: true, countsLive: false, bodyLimits: [], refusal: problem };
    }
    this.#leases.expire(now);
    const parties = this.#parties(key, conversation);
    const isLimited = hasLimits(this.#limits) || keyHash !== undefined;
    const countsLive = parties.some(({ limits }) => limits.live !== undefined);
    const bodyLimits = bodyLimitsOf(parties);
    const answer = { key: name, isLimited, countsLive, bodyLimits };
    const refusal = this.#refusal(parties, now);
    if (refusal) return { ...answer, refusal };
    if (key) this.#keys.use(key, now);
    const counted = parties.filter(({ limits }) => limits.rpm !== undefined);
    if (counted.length > 0) this.#requests.accept(name, now);
    if (countsLive) this.#leases.take(ticket, slotOf(ticket, conversation), name, now);
    const requests = leastLeft(counted, now);
    return { ...answer, ...(requests && { requests }) };
  }

  hold({ ticket, conversation, key }: Hold): void {
    const now = this.now;
    if (!this.#leases.renew(ticket, now)) {
      this.#open();
      this.#leases.take(ticket, slotOf(ticket, conversation), key, now);
    }
  }

  release(holder: string): void {
    this.#leases.release(holder);
  }

  keyOf(hash: string): KeyAnswer {
    const now = this.now;
    const key = this.#keys.find(hash, now);
    if (key) this.#keys.use(key, now);
    return keyAnswer(key);
  }

  renewed(session: LiveSession): void {
    this.#open();
    this.#index.renew(session, this.now);
    // In this order, and in one turn: the slot is never free between the request's holding it and the session's.
    if (session.ticket !== undefined) this.#leases.release(session.ticket);
  }

  ended(ended: EndedSession): void {
    this.#open();
    const { session, conversation, usage, holdsSlot } = ended;
    if (holdsSlot && this.#countsLive) this.#leases.take(session, conversation, usage.key, this.now);
    else this.#leases.release(session);
    if (this.#index.end(ended)) this.#usage.add(usage);
  }

  struck(session: StruckSession): void {
    if (this.#hasTables) this.#index.strike(session);
  }

  /** An answer on the strict path. */
  counted(usage: SessionUsage): void {
    this.#open();
    this.#usage.add(usage);
  }

  knows(conversation: string): boolean {
    if (!this.#hasTables) return false;
    return this.#leases.holds(conversation) || this.#index.knows(conversation, this.now);
  }

  lookup(conversations: readonly string[]): IndexAnswer {
    if (!this.#hasTables) return { rows: [], live: [] };
    return this.#index.find(conversations, this.now);
  }

  stale(): { conversation: string; session: string }[] {
    return this.#index.stale(this.now);
  }

  settle(conversation: string, session: string, standing: Standing): void {
    this.#index.settle(conversation, session, standing, this.now);
  }

  // The owner's view and orders: see orders.ts

  get now(): number {
    return this.#options.now();
  }
  get limits(): Limits {
    return this.#limits;
  }

  set limits(limits: Limits) {
    this.#open();
    this.#limits = limits;
    writeMeta(this.#options.sql, "limits", JSON.stringify(limits));
  }

  /** To read; `keysToWrite` makes the tables that a change needs. */
  get keys(): KeyRegistry {
    return this.#keys;
  }

  get keysToWrite(): KeyRegistry {
    this.#open();
    return this.#keys;
  }

  /** To read. */
  get index(): ConversationIndex {
    return this.#index;
  }

  /** To read; `undefined`: nothing was counted yet. */
  get usage(): UsageRows | undefined {
    return this.#hasTables ? this.#usage : undefined;
  }

  // Time

  /** Deletes what is over. */
  sweep(): void {
    if (!this.#hasTables) return;
    const now = this.now;
    this.#leases.expire(now);
    this.#requests.expire(now);
    if ((this.#index.nextExpiry ?? Number.POSITIVE_INFINITY) <= now) this.#index.expire(now);
    this.#usage.expire(now);
    this.#keys.expire(now, USAGE_DAYS * DAY_MS);
  }

  /** When the next sweep is due, Unix milliseconds; `undefined` when nothing here has a time. */
  nextSweep(): number | undefined {
    if (!this.#hasTables) return undefined;
    const now = this.now;
    if (this.#index.liveCount + this.#leases.count > 0 || !this.#requests.ofTenant.isEmpty) return now + SWEEP_MS;
    const expiry = this.#index.nextExpiry;
    if (expiry !== undefined) return Math.max(expiry, now + SWEEP_MS);
    const hasDays = !this.#usage.isEmpty || this.#keys.all().some(({ expiresAt }) => expiresAt !== undefined);
    return hasDays ? now + DAY_MS : undefined;
  }

  /** Nothing is worth keeping. */
  get isEmpty(): boolean {
    if (!this.#hasTables) return true;
    return this.nextSweep() === undefined && this.#keys.count === 0 && !hasLimits(this.#limits);
  }

  #open(): void {
    if (this.#hasTables) return;
    createTables(this.#options.sql);
    this.#hasTables = true;
  }

  get #countsLive(): boolean {
    return this.#limits.live !== undefined || this.#keys.all().some(({ limits }) => limits.live !== undefined);
  }

  #parties(key: IssuedKeyEntry | undefined, own: string | undefined): Party[] {
    const { tenant, defaultBytes } = this.#options;
    const name = key?.name ?? OWNER_KEY;
    const live = countSlots([...this.#index.slots(), ...this.#leases.slots()], name, own);
    const limits = { bytes: defaultBytes, ...this.#limits };
    const ofTenant: Party = {
      who: `Tenant "${tenant}"`,
      limits,
      window: this.#requests.ofTenant,
      live: live.tenant,
      keptBytes: () => this.#index.keptBytes,
    };
    if (!key) return [ofTenant];
    const ofKey: Party = {
      who: `Key "${name}"`,
      limits: key.limits,
      window: this.#requests.ofKey(name),
      live: live.key,
      keptBytes: () => this.#index.keptBytesOf(name),
    };
    return [ofTenant, ofKey];
  }

  #refusal(parties: readonly Party[], now: number) {
    const nextExpiry = () => this.#index.nextExpiry;
    const refusal = refusalOf(parties, nextExpiry, now);
    if (!refusal || !this.#hasTables || (nextExpiry() ?? now + 1) > now) return refusal;
    // What has expired is still counted; without it there may be room.
    this.#index.expire(now);
    return refusalOf(parties, nextExpiry, now);
  }
}
