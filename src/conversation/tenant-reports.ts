/**
 * What a conversation tells its tenant's object (tenant/messages.ts has what it means, and what heals when it is lost), and
 * its line in the log. Nothing here delays an answer.
 */
import type { LookupRow } from "../protocol.ts";
import { askTenant } from "../tenant/ask-tenant.ts";
import type { EndedSession, LiveSession, SessionUsage, Standing, StruckSession } from "../tenant/messages.ts";
import { type Dataset, report } from "../tenant/session-line.ts";
import { USAGE_HEAD_BYTES, USAGE_TAIL_BYTES, usageOf } from "../tenant/usage-of.ts";
import { expiryOf } from "./alarm.ts";
import { lookupRow } from "./session/lookup-row.ts";
import type { Session } from "./session/session.ts";
import { endOf } from "./session/session-state.ts";

/** The tenant's object, each call bounded in time. */
export interface TenantLink {
  readonly tenant: string;
  readonly conversation: string;
  renewed(session: LiveSession): Promise<void>;
  ended(session: EndedSession): Promise<void>;
  struck(session: StruckSession): Promise<void>;
  released(holder: string): Promise<void>;
}

/** `name` is the conversation's object's: `tenant/conversation`. A tenant has no slash. */
export function tenantLink(namespace: Env["TENANT"], name: string): TenantLink {
  const slash = name.indexOf("/");
  const tenant = name.slice(0, slash);
  return {
    tenant,
    conversation: name.slice(slash + 1),
    renewed: (session) => askTenant(namespace, tenant, (stub) => stub.renewed(session)),
    ended: (session) => askTenant(namespace, tenant, (stub) => stub.ended(session)),
    struck: (session) => askTenant(namespace, tenant, (stub) => stub.struck(session)),
    released: (holder) => askTenant(namespace, tenant, (stub) => stub.released(holder)),
  };
}

/** What else the conversation has when a session has ended. */
export interface Aftermath {
  /** The session that a lookup finds from now on. */
  readonly current: Session | undefined;
  readonly ttlMs: number;
  /** The origin has not acknowledged the stop. */
  readonly holdsSlot: boolean;
}

export class TenantReports {
  readonly #link: TenantLink;
  readonly #dataset: Dataset | undefined;
  /** When the origin's first byte came; of sessions before a restart it is not known. */
  readonly #firstByteAt = new WeakMap<Session, number>();
  /** The origin that the tenant's object was last told. */
  readonly #toldOrigin = new WeakMap<Session, string | undefined>();
  /** Sessions that have ended and whose slot is not free. */
  readonly #holding = new Set<string>();
  #reported: Promise<void> = Promise.resolve();

  constructor(link: TenantLink, dataset: Dataset | undefined) {
    this.#link = link;
    this.#dataset = dataset;
  }

  /** At the beginning, with the request's ticket, and at each heartbeat. Resolves when the index names the session. */
  async renewed(session: Session, ticket?: string): Promise<void> {
    this.#toldOrigin.set(session, session.record.origin);
    await told(this.#link.renewed({ ...this.#live(session), ...(ticket !== undefined && { ticket }) }));
  }

  /** The request joined the session, which holds a slot of its own or needs none. */
  async joined(session: Session, ticket: string | undefined): Promise<void> {
    if (ticket === undefined) return;
    if (session.isLive) await this.renewed(session, ticket);
    else await told(this.#link.released(ticket));
  }

  /** Resolves when the tenant's object knows the origin that answers. */
  async accepted(session: Session, now: number): Promise<void> {
    this.#firstByteAt.set(session, now);
    // It was chosen after the beginning, or took the request over: rare, and the owner is not to wait for the heartbeat.
    if (this.#toldOrigin.get(session) !== session.record.origin) await this.renewed(session);
  }

  /** Resolves when the tenant's object was told of every end so far, or could not be. */
  get reported(): Promise<void> {
    return this.#reported;
  }

  /** The session has just ended. Tells so at the end of this turn, when `after` says what a lookup finds from now on. */
  concluded(session: Session, after: () => Aftermath): Promise<void> {
    const usage = this.#usage(session);
    const told = Promise.resolve().then(() => this.#ended(session, usage, after()));
    this.#reported = Promise.all([this.#reported, told]).then(() => undefined);
    return this.#reported;
  }

  /** Of `session`, which has just ended: before its log is deleted. */
  #usage(session: Session): SessionUsage {
    const { key, model, family, startedAt, state, origin, reattached } = session.record;
    const end = endOf(state) ?? "interrupted";
    const at = "at" in state ? state.at : startedAt;
    const firstByteAt = this.#firstByteAt.get(session);
    const told = end === "done" ? usageOf(family, endsOf(session)) : {};
    const named = told.model ?? model;
    return {
      key,
      ...(named !== undefined && { model: named }),
      end,
      at,
      durationMs: at - startedAt,
      ...(firstByteAt !== undefined && { firstByteMs: firstByteAt - startedAt }),
      ...(told.tokens && { tokens: told.tokens }),
      ...(origin !== undefined && { origin, reattached }),
    };
  }

  async #ended(session: Session, usage: SessionUsage, { current, ttlMs, holdsSlot }: Aftermath): Promise<void> {
    const { log } = session;
    const { tenant, conversation } = this.#link;
    const { session: name } = session.record;
    report({ tenant, session: name, usage, bytes: log.end }, this.#dataset);
    if (holdsSlot) this.#holding.add(name);
    const bytes = current ? current.log.end - current.log.start : 0;
    await told(
      this.#link.ended({ conversation, session: name, usage, holdsSlot, bytes, ...rowAndExpiry(current, ttlMs) }),
    );
  }

  async struck({ record }: Session): Promise<void> {
    await told(this.#link.struck({ conversation: this.#link.conversation, session: record.session }));
  }

  /** The origin has acknowledged every stop. */
  async slotsFreed(): Promise<void> {
    const holders = Array.from(this.#holding);
    this.#holding.clear();
    await Promise.all(holders.map((holder) => told(this.#link.released(holder))));
  }

  standing(current: Session | undefined, ttlMs: number): Standing {
    if (!current) return { key: "", bytes: 0 };
    const { key } = current.record;
    const bytes = current.log.end - current.log.start;
    if (current.isLive) return { live: this.#live(current), key, bytes };
    return { key, bytes, ...rowAndExpiry(current, ttlMs) };
  }

  #live({ record, log }: Session): LiveSession {
    const { session, key, model, origin, startedAt, reattached } = record;
    return {
      ...{ conversation: this.#link.conversation, session, key, startedAt, bytes: log.end - log.start, reattached },
      ...(model !== undefined && { model }),
      ...(origin !== undefined && { origin }),
    };
  }
}

/** Of a session that is live there is no row to keep. */
function rowAndExpiry(current: Session | undefined, ttlMs: number): { row?: LookupRow; expiresAt?: number } {
  const expiresAt = current && expiryOf(current.record.state, ttlMs);
  return current && expiresAt !== undefined ? { row: lookupRow(current), expiresAt } : {};
}

function endsOf({ log, bodyStart, isEventStream }: Session) {
  const tailStart = Math.max(log.start, bodyStart, log.end - USAGE_TAIL_BYTES);
  return {
    isEventStream,
    head: log.start === 0 ? log.peek(bodyStart, USAGE_HEAD_BYTES) : new Uint8Array(0),
    tail: log.peek(tailStart, USAGE_TAIL_BYTES),
  };
}

/** A lost message heals; that it was lost is logged where it is known. */
async function told(message: Promise<void>): Promise<void> {
  try {
    await message;
  } catch (error) {
    console.error(error);
  }
}
