/**
 * What is said to a tenant's object, and what it asks back: plain values over RPC.
 *
 *   Worker ──admit, knows, lookup, keyOf──▶ Tenant ◀──renewed, ended, struck, released── Conversation
 *                                             └──────────────standing──────────────────────────────▲
 *
 * The conversation's object is the truth; the tenant's object only counts and names. So every message of a conversation
 * says all there is to know, may be sent twice, and may be lost. A session's first `renewed` comes when it begins; a request that
 * joins a live session hands its ticket over with a `renewed`, one that joins an ended session with `released`.
 *
 *   lost        until                                what is wrong meanwhile
 *   the first   the next `renewed`, one heartbeat    a lookup does not find the session
 *   renewed     the next one                         the session is asked (`standing`) instead of believed
 *   ended       the object asks, two heartbeats      a lookup asks the conversation; the slot is taken
 *   struck      the row expires                      a lookup finds what was deleted: so DELETE waits for it
 *   released    HOLD_MS without renewal              the slot is taken
 */
import type { LookupRow, SessionEnd } from "../protocol.ts";

/**
 * How often a live session says that it lives: with the alarm without which an object that pulls with no client attached
 * is killed after 70 s at the earliest. An entry that was not renewed for twice as long is asked.
 */
export const HEARTBEAT_MS = 25_000;
/** How long a slot is held that no session holds: by a request on its way, a strict answer, a stop not yet acknowledged. */
export const HOLD_MS = 15_000;
/** Between two renewals of a held slot. */
export const HOLD_RENEW_MS = 5_000;

/** The name under which usage counts what came with a key of API_KEYS, which has no name of its own. */
export const OWNER_KEY = "API_KEYS";

/** A conversation's live session, at its beginning and at each heartbeat. */
export interface LiveSession {
  /** The second half of the object's name: what `conversationOf(id)` gives. */
  readonly conversation: string;
  /** The session's public name. */
  readonly session: string;
  /** The name of the key that started it. */
  readonly key: string;
  /** Unix milliseconds. */
  readonly startedAt: number;
  /** What it stores now, bytes: its log, and its request while that is kept. */
  readonly bytes: number;
  /** The model that the request named. */
  readonly model?: string;
  /** The name of the origin that has it; absent before one is chosen. */
  readonly origin?: string;
  /** Connections to the origin after the first; absent in the messages of an older gateway. */
  readonly reattached?: number;
  /** The slot that `admit` took for the request, which from now on the session holds. */
  readonly ticket?: string;
}

/** A session is over, by whatever end. */
export interface EndedSession {
  readonly conversation: string;
  readonly session: string;
  /**
   * What a lookup finds in the conversation from now on: this session's last row, or that of the session before it where
   * this one was refused. Absent when there is nothing any more (stopped), or the session was replaced.
   */
  readonly row?: LookupRow;
  /** When `row` expires, Unix milliseconds. */
  readonly expiresAt?: number;
  /** What the conversation stores from now on, bytes. */
  readonly bytes: number;
  /** The origin has not acknowledged the stop yet: the slot stays taken until `released`, or until HOLD_MS have passed. */
  readonly holdsSlot: boolean;
  readonly usage: SessionUsage;
}

/** What one answer cost. What is not known is absent, never guessed. */
export interface SessionUsage {
  readonly key: string;
  /** The model that the request named, or the origin's own name for it. */
  readonly model?: string;
  /** `strict`: a request without a conversation, whose answer nobody looks at. */
  readonly end: SessionEnd | "strict";
  /** When it ended, Unix milliseconds. */
  readonly at: number;
  readonly durationMs?: number;
  /** To the first byte of the answer. */
  readonly firstByteMs?: number;
  readonly tokens?: Tokens;
  /** The name of the origin that had it last. */
  readonly origin?: string;
  /** Connections to that origin after the first. */
  readonly reattached?: number;
}

export interface Tokens {
  /** Of the prompt, cached ones included. */
  readonly input: number;
  readonly cached: number;
  readonly output: number;
}

/** DELETE of a session that has ended: the conversation has nothing any more. Expiry needs no message: the row has its time. */
export interface StruckSession {
  readonly conversation: string;
  /** Nothing is struck off that belongs to a newer session. */
  readonly session: string;
}

/** What a conversation answers when it is asked instead of believed. */
export interface Standing {
  /** The live session, if there is one. */
  readonly live?: LiveSession;
  /** The row that a lookup finds where no session is live, when it expires, and the name of the key that started it. */
  readonly row?: LookupRow;
  readonly expiresAt?: number;
  readonly key: string;
  readonly bytes: number;
}

/** A generating request, before its body is known. */
export interface AdmitRequest {
  /** Made by the Worker, unguessable: names the slot until a session, or nobody, holds it. */
  readonly ticket: string;
  /** Absent on the strict path. */
  readonly conversation?: string;
  /** The SHA-256 of an issued key's id, hexadecimal; absent for a key of API_KEYS. */
  readonly keyHash?: string;
}

export interface AdmitAnswer {
  /** The key's name, for usage and the log line. */
  readonly key: string;
  /** Why not; absent when admitted. */
  readonly refusal?: Refusal;
  /** Whether the owner has set limits for this tenant or key: then each request waits for `admit`. */
  readonly isLimited: boolean;
  /** Whether live answers are counted for it: then a strict one has to renew its slot. */
  readonly countsLive: boolean;
  readonly requests?: RequestsLeft;
  /** What only the Worker can check, because it reads the body: of the tenant and of the key. */
  readonly bodyLimits: readonly BodyLimits[];
}

export interface BodyLimits {
  /** Whose they are, as it stands in a message. */
  readonly who: string;
  readonly body?: number;
  readonly models?: readonly string[];
}

/** A slot held without a session, renewed by whoever holds it. Taken again if it was void meanwhile. */
export interface Hold {
  readonly ticket: string;
  readonly conversation?: string;
  readonly key: string;
}

/** An answer to the client, as data: errors do not keep their fields over RPC. */
export interface Refusal {
  /** 401 for a key that does not hold, 403 for one without the scope or the model, 413 for the body. */
  readonly status: 401 | 403 | 413 | 429;
  readonly message: string;
  /** Whole seconds. */
  readonly retryAfter?: number;
}

/** For the x-ratelimit headers. */
export interface RequestsLeft {
  readonly limit: number;
  readonly remaining: number;
  /** Until all are there again, milliseconds. */
  readonly resetMs: number;
}

/** What the index knows of the conversations asked for. */
export interface IndexAnswer {
  /** Of conversations whose session has ended. */
  readonly rows: readonly LookupRow[];
  /** Conversations that may have a live session: only they can say how far it is. */
  readonly live: readonly string[];
}

/** An issued key as the object knows it; `isKnown` is false for one that was removed or has expired. */
export interface KeyAnswer {
  readonly isKnown: boolean;
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** Unix milliseconds. */
  readonly expiresAt?: number;
}

/** `read`: GET, lookup, models, usage. `generate`: POST and DELETE too. */
export type Scope = "read" | "generate";

/** Every limit is the owner's; an absent one does not hold. */
export interface Limits {
  /** Requests accepted in any 60 s. */
  readonly rpm?: number;
  /** Answers that run at the same time. */
  readonly live?: number;
  /** Bytes that conversations may store, until they expire. */
  readonly bytes?: number;
  /** Bytes of a request's body. */
  readonly body?: number;
  /** Globs of the models that may be asked for. */
  readonly models?: readonly string[];
}

/** A new key, without the key: that is known to nobody but who made it. */
export interface NewKey {
  readonly hash: string;
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** Unix milliseconds. */
  readonly expiresAt?: number;
  readonly limits: Limits;
}

/** What became of an order of the owner; `problem` says why nothing did. */
export interface OrderAnswer {
  readonly problem?: "exists" | "unknown" | "too_many" | "invalid";
  readonly message?: string;
}

/** What the owner sees of a tenant. */
export interface TenantEntry {
  readonly tenant: string;
  readonly limits: Limits;
  readonly keys: readonly KeyEntry[];
  readonly live: number;
  readonly kept_bytes: number;
}

/** What the owner sees of a key. Times are Unix seconds. */
export interface KeyEntry {
  readonly name: string;
  readonly created_at: number;
  /** To the day. */
  readonly last_used_at: number | null;
  readonly expires_at: number | null;
  readonly scopes: readonly Scope[];
  readonly limits: Limits;
}

/** One row of usage: day × model × key. */
export interface UsageRow {
  /** Days since 1970, UTC. */
  readonly day: number;
  readonly model: string;
  readonly key: string;
  readonly requests: number;
  /** Of them, those whose tokens are unknown. */
  readonly unknown: number;
  readonly input: number;
  readonly cached: number;
  readonly output: number;
  readonly durationMs: number;
  readonly firstByteMs: number;
  /** How many ended how. */
  readonly ends: Readonly<Record<string, number>>;
}
