/**
 * One generation of a conversation and how it ended: its record, its log, and whoever waits for either.
 *
 *   asking ──▶ streaming ──▶ done                      the origin ended it the way its route ends
 *      │           ├───────▶ failed (a code each)      the gateway gave the origin up, or the origin cut it
 *      ├───────────┼───────▶ stopped                   DELETE; nothing is kept
 *      ├───────────┴───────▶ replaced                  a new POST; kept until the origin takes that one
 *      └───────────────────▶ refused                   the origin answered an error before the stream; nothing is kept
 *
 * Endings are final and the first one wins. The session is live while `end` is null.
 */
import type { ErrorBody } from "../errors.ts";
import { FAMILIES, type RouteFamily } from "../families.ts";
import type { LookupRow, SessionEnd } from "../protocol.ts";
import { EVENT_STREAM } from "../protocol.ts";
import { PING, STOPPED_FRAME } from "../sse.ts";
import type { ReplayLog } from "./log/replay-log.ts";

/** What survives a restart beside the log: one row. Times are Unix milliseconds. */
export interface SessionRecord {
  /** Public name of the session, in the Holdfast-Session header. */
  readonly session: string;
  /** Private name of the session at the origin: the conversation id we send there. */
  originId: string;
  /** Private names under which the origin was asked, and said that it knew of nothing. */
  readonly abandonedIds: string[];
  /** The conversation id as the client gave it, `::model` included. */
  readonly id: string;
  /** The route at the origin. */
  readonly path: string;
  readonly family: RouteFamily;
  /** The request's `stream` field. */
  readonly wantsStream: boolean;
  readonly idempotencyKey: string | undefined;
  /** SHA-256 of the request body, hexadecimal. */
  readonly bodyHash: string;
  readonly startedAt: number;
  /** Connections to the origin after the first. */
  reattached: number;
  /** The origin's, once it has accepted the request. */
  contentType: string | undefined;
  completedAt: number | undefined;
  end: SessionEnd | null;
  /** Why, for endings that are errors. */
  error: ErrorBody | undefined;
  /**
   * Where an answer breaks off that had been seen further than it was stored: the bytes behind are not the ones that were
   * there before a restart.
   */
  lostFrom: number | undefined;
  /** The body hash of the live session that this one replaced: a late retry of that is not a new request. */
  readonly replacedHash: string | undefined;
}

/** Silence after which readers get a ping. At most 2 s by design: llama.cpp's web UI gives up after 3 s. */
const PING_AFTER_MS = 1_800;
/**
 * Readers are woken at most this often: what comes faster is handed on in larger pieces, each of which costs a crossing
 * between JavaScript and the runtime's streams. A model of up to 200 tokens a second is not slowed down at all.
 */
const WAKE_EVERY_MS = 5;
/**
 * The same for each waiting reader, when there are many: a piece for one of them costs some 50 µs, so all of them together get
 * about a tenth of the thread that the object shares with its neighbours. 100 readers see an answer move 20 times a second.
 */
const WAKE_PER_READER_MS = 0.5;
/** However many they are. */
const WAKE_AT_LEAST_EVERY_MS = 250;
/** How long origin bytes may stay in memory only: what a crash makes the origin send again, against a row's price. */
const STORE_AFTER_MS = 5_000;

/** What a session needs of the object it lives in. */
export interface SessionHost {
  now(): number;
  newId(): string;
  /** Writes the record; called in the same turn as the log's writes, so both commit together. */
  saveRecord(record: SessionRecord): void;
  onEnd(session: Session): void;
  /** A timer's work failed. */
  onError(session: Session, error: unknown): void;
}

export class Session {
  readonly record: SessionRecord;
  readonly log: ReplayLog;
  readonly #host: SessionHost;
  #waiters: (() => void)[] = [];
  #readers = 0;
  /** Aborted while somebody reads, or nothing more is to come. */
  #attended = new AbortController();
  #lastGrowth: number;
  #pingTimer: ReturnType<typeof setTimeout> | undefined;
  #storeTimer: ReturnType<typeof setTimeout> | undefined;
  #wakeTimer: ReturnType<typeof setTimeout> | undefined;
  #lastWake = 0;
  /** False in the middle of an event too long to hold back: no frame may go there. */
  isAtBoundary: () => boolean = () => true;
  /**
   * Origin bytes that somebody may have seen. After a restart these are more than the log has; until it has caught up no
   * ping may take an offset that a client already knows with other bytes.
   */
  seenOriginBytes = 0;
  /** Its ending could not be stored: readers are cut off, not ended. */
  #isBroken = false;

  constructor(record: SessionRecord, log: ReplayLog, host: SessionHost) {
    this.record = record;
    this.log = log;
    this.#host = host;
    this.#lastGrowth = host.now();
  }

  get isLive(): boolean {
    return this.record.end === null;
  }

  /** Whether its bytes are events: then frames of ours may be added. Until the origin has answered, the request tells. */
  get isEventStream(): boolean {
    const { contentType, wantsStream } = this.record;
    return contentType === undefined ? wantsStream : contentType.startsWith(EVENT_STREAM);
  }

  /** Whether somebody reads, or nothing more is to come: what comes is then to be handed on at once. */
  get isAttended(): boolean {
    return this.#readers > 0 || !this.isLive;
  }

  /** Aborted while `isAttended`; asking that costs less. */
  get attended(): AbortSignal {
    return this.#attended.signal;
  }

  /** The origin took the request. Saved with the first byte: without one there is nothing to remember. */
  accept(contentType: string): void {
    this.record.contentType = contentType;
    this.#wake();
  }

  /**
   * The next request goes to the origin under another private name. The one before may yet arrive there, and two
   * requests of one name end each other's sessions at the wrong moment.
   */
  changeOriginId(): void {
    this.record.abandonedIds.push(this.record.originId);
    this.record.originId = this.#host.newId();
    this.#host.saveRecord(this.record);
  }

  /** The producer has a new connection to the origin. */
  reattached(): void {
    this.record.reattached += 1;
    this.#host.saveRecord(this.record);
  }

  /** Origin bytes, whole events; `eventStart` as in ReplayLog.append. */
  append(bytes: Uint8Array, eventStart?: number): void {
    this.log.append(bytes, eventStart);
    this.#lastGrowth = this.#host.now();
    if (this.log.hasUnflushed) this.#storeTimer ??= setTimeout(() => this.#storeNow(), STORE_AFTER_MS);
    if (this.#waiters.length === 0 || this.#wakeTimer !== undefined) return;
    const every = Math.max(WAKE_EVERY_MS, this.#waiters.length * WAKE_PER_READER_MS);
    const rest = Math.min(every, WAKE_AT_LEAST_EVERY_MS) - (this.#lastGrowth - this.#lastWake);
    if (rest <= 0) this.#wake();
    else this.#wakeTimer = setTimeout(() => this.#wake(), rest);
  }

  /**
   * Readers see nothing that is added from here on before all that was written so far survives a crash. For the first byte
   * of an answer: with it the request is forgotten, and a restart that still knew the request would ask it again.
   */
  barrier(): void {
    this.#wakeAfter(this.log.barrier());
  }

  /**
   * Ends the session; readers get the ending's frame and then a clean end. Does nothing when it has ended already.
   * For endings that keep nothing the caller deletes the log.
   */
  finish(end: SessionEnd, error?: ErrorBody): void {
    if (!this.isLive) return;
    const frame = this.#endFrame(end, error);
    this.record.end = end;
    this.record.error = error;
    this.record.completedAt = this.#host.now();
    if (error && !this.hasCaughtUp) this.record.lostFrom = this.log.end;
    clearTimeout(this.#pingTimer);
    clearTimeout(this.#storeTimer);
    this.#attended.abort();
    try {
      if (end === "stopped" || end === "refused") {
        this.log.detach();
      } else {
        this.log.flush();
        this.#host.saveRecord(this.record);
      }
      if (frame) this.#addFrame(frame);
    } catch (error) {
      this.#breakOff(error);
    }
    this.#host.onEnd(this);
    this.#wake();
  }

  /** Whether the log has all that anybody can have seen of it. */
  get hasCaughtUp(): boolean {
    return this.log.originBytes >= this.seenOriginBytes;
  }

  /**
   * Whether a client that has the bytes up to `from` has other ones than the log, or more of them: its answer broke off
   * where it cannot see it, and an end would pass for the end of the answer.
   */
  hasLost(from: number): boolean {
    const { lostFrom } = this.record;
    return this.#isBroken || (lostFrom !== undefined && from > lostFrom);
  }

  /** The session has ended and all its bytes may be seen: a reader at the end is done. */
  get isDrained(): boolean {
    return !this.isLive && !this.log.hasBarrier;
  }

  /** Calls `waiter`, once, when bytes were added or the session has ended. */
  onChange(waiter: () => void): void {
    this.#waiters.push(waiter);
  }

  /** Resolves when bytes were added or the session has ended. */
  changed(): Promise<void> {
    return new Promise((resolve) => this.onChange(resolve));
  }

  /** Resolves when the session has ended. */
  async ended(): Promise<void> {
    while (this.isLive) await this.changed();
  }

  /** A client is being fed: from now on silence is filled with pings. Every `attach` is followed by one `detach`. */
  attach(): void {
    this.#readers += 1;
    if (this.#readers > 1) return;
    this.#attended.abort();
    this.#armPing();
  }

  detach(): void {
    this.#readers -= 1;
    if (this.#readers > 0) return;
    clearTimeout(this.#pingTimer);
    this.#attended = new AbortController();
  }

  lookupRow(): LookupRow {
    const { record, log } = this;
    return {
      conversation_id: record.id,
      is_done: !this.isLive,
      total_bytes: log.end,
      started_at: Math.floor(record.startedAt / 1000),
      completed_at: record.completedAt === undefined ? 0 : Math.floor(record.completedAt / 1000),
      session: record.session,
      end: record.end,
      dropped_bytes: log.start,
      reattached: record.reattached,
    };
  }

  #endFrame(end: SessionEnd, error: ErrorBody | undefined): Uint8Array | undefined {
    if (!this.isEventStream) return undefined;
    if (end === "stopped") return STOPPED_FRAME;
    if (!error) return undefined;
    // Inside an event that was too long to hold back, a blank line first, or the frame would be taken for a part of it.
    const separator = this.isAtBoundary() ? "" : "\n\n";
    return new TextEncoder().encode(separator + FAMILIES[this.record.family].errorEvent(error));
  }

  #addFrame(frame: Uint8Array): void {
    this.#lastGrowth = this.#host.now();
    this.#wakeAfter(this.log.appendFrame(frame));
  }

  /** Wakes readers when what they may see is stored. */
  #wakeAfter(stored: Promise<void>): void {
    stored.then(
      () => this.#wake(),
      (error: unknown) => {
        if (this.isLive) this.#host.onError(this, error);
        else this.#breakOff(error);
      },
    );
  }

  /** The end could not be stored. */
  #breakOff(error: unknown): void {
    console.error(error);
    this.#isBroken = true;
    this.log.detach();
    this.#wake();
  }

  #armPing(): void {
    if (!this.isLive) return;
    const rest = PING_AFTER_MS - (this.#host.now() - this.#lastGrowth);
    clearTimeout(this.#pingTimer);
    // Nothing left of the wait: this reader has only just come, or no frame may stand here; look again in a full turn.
    this.#pingTimer = setTimeout(() => this.#ping(), rest > 0 ? rest : PING_AFTER_MS);
  }

  #ping(): void {
    try {
      const isDue = this.#host.now() - this.#lastGrowth >= PING_AFTER_MS;
      if (isDue && this.isEventStream && this.isAtBoundary() && this.hasCaughtUp) this.#addFrame(PING);
    } catch (error) {
      this.#host.onError(this, error);
    }
    this.#armPing();
  }

  #storeNow(): void {
    this.#storeTimer = undefined;
    try {
      this.log.flush();
    } catch (error) {
      this.#host.onError(this, error);
    }
  }

  #wake(): void {
    clearTimeout(this.#wakeTimer);
    this.#wakeTimer = undefined;
    this.#lastWake = this.#lastGrowth;
    const waiters = this.#waiters;
    if (waiters.length === 0) return;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }
}
