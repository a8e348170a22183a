/**
 * One generation of a conversation: its record, its log, its audience. Only its methods change its state (session-state.ts).
 *
 *   accept ─▶ append … append ─▶ finish          (or refuse, before accept)
 *             └ the first one begins the answer
 *
 * I3: the request is kept exactly until the log has had a byte of the origin's. I6: a frame of the gateway stands only
 * between events. I7: the first ending wins, and after it nothing but its own frame is added.
 */

import type { Clock } from "../../clock.ts";
import type { ErrorBody } from "../../errors.ts";
import { EVENT_STREAM } from "../../protocol.ts";
import { PING } from "../../sse.ts";
import type { ReplayLog } from "../log/replay-log.ts";
import { Audience } from "./audience.ts";
import { endFrame } from "./end-frame.ts";
import { Keepalive } from "./keepalive.ts";
import { KeptRequest } from "./kept-request.ts";
import { moved, resent } from "./record-changes.ts";
import type { SessionRecord } from "./session-record.ts";
import {
  brokenFromOf,
  contentTypeOf,
  type EndedState,
  endOf,
  isLive,
  nextState,
  type SessionEvent,
  type StartFailure,
} from "./session-state.ts";

/** How long origin bytes may stay in memory only: what a crash makes the origin send again, against a row's price. */
const LOG_FLUSH_AFTER_MS = 5_000;

/** What a session needs of its owner. */
export interface SessionHost {
  /** Writes the record; in the same turn as the log's writes, so both commit together. `forget`: and deletes the request. */
  save(record: SessionRecord, request: "keep" | "forget"): void;
  /** The request's body as it is stored. */
  storedRequest(): Uint8Array | undefined;
  /** The origin accepted the request; called before readers see it. */
  onAccepted(session: Session): void;
  onEnd(session: Session): void;
  /** A timer's work failed. */
  onError(session: Session, error: unknown): void;
}

export class Session {
  readonly log: ReplayLog;
  readonly audience: Audience;
  readonly #clock: Clock;
  readonly #host: SessionHost;
  readonly #keepalive: Keepalive;
  #record: SessionRecord;
  readonly request: KeptRequest;
  /** Whether the log ends with a whole event: a frame may go there. */
  #isAtBoundary: boolean;
  /** A reader may have seen this many origin bytes before the restart: until then no ping may take an offset of theirs. */
  #replayFloor = 0;
  #cancelFlush: (() => void) | undefined;
  /** The ending could not be persisted; readers get an error, not a clean end. */
  #isBroken = false;

  /** `request`: its body, if it has just come; of a restored session, whether it is stored. */
  constructor(record: SessionRecord, log: ReplayLog, host: SessionHost, clock: Clock, request: Uint8Array | boolean) {
    this.log = log;
    this.#record = record;
    this.#host = host;
    this.#clock = clock;
    this.request = new KeptRequest(request, host.storedRequest);
    this.#isAtBoundary = log.endsWithEvent();
    this.#keepalive = new Keepalive(clock, () => this.#ping());
    this.audience = new Audience(clock, (isPresent) => {
      if (isPresent && this.isLive) this.#keepalive.start();
      else this.#keepalive.stop();
    });
  }

  get record(): SessionRecord {
    return this.#record;
  }

  get isLive(): boolean {
    return isLive(this.#record.state);
  }

  /** Whether its bytes are events: then frames of ours may be added. Until the origin has answered, the request tells. */
  get isEventStream(): boolean {
    const contentType = contentTypeOf(this.#record.state);
    return contentType === undefined ? this.#record.wantsStream : contentType.startsWith(EVENT_STREAM);
  }

  /** Where the answer begins: behind the pings, if the origin answered a request for a stream with something else. */
  get bodyStart(): number {
    return this.isEventStream ? 0 : this.log.end - this.log.originBytes;
  }

  /** The origin accepted the request. Saved with the first byte: without one there is nothing to remember. */
  accept(contentType: string): void {
    if (this.#record.state.phase !== "asking") return;
    this.#host.onAccepted(this);
    this.#change({ type: "accepted", contentType });
    this.audience.notifyNow();
  }

  /**
   * Adds origin bytes: whole events, unless `endsWithEvent` is false. `eventStart` is where in them the last event starts
   * that is not a comment, if one does. Copies them.
   */
  append(bytes: Uint8Array, endsWithEvent: boolean, eventStart?: number): void {
    if (!this.isLive) throw new Error(`Origin bytes for a session that has ended as ${endOf(this.#record.state)}`);
    if (this.request.isHeld) this.#begin();
    this.log.append(bytes, eventStart);
    this.#isAtBoundary = endsWithEvent;
    const now = this.#clock.now();
    this.#keepalive.grew(now);
    if (this.log.hasUnflushed) this.#cancelFlush ??= this.#clock.after(LOG_FLUSH_AFTER_MS, () => this.#flush());
    this.audience.notify(now);
  }

  /**
   * The first byte is there, and about to be added. In this order: the record without the request, the barrier, the byte.
   * Readers see the byte when the record is synced: a restart that still had the request would send it again.
   */
  #begin(): void {
    // A replay that has bytes is a request that was accepted; what the origin replays is an event stream.
    this.accept(EVENT_STREAM);
    this.#forgetRequest();
    this.#notifyAfter(this.log.barrier());
  }

  #forgetRequest(): void {
    this.request.forget();
    this.#host.save(this.#record, "forget");
  }

  /** After a restart: how many origin bytes a reader may have seen. */
  caughtUpAt(originBytes: number): void {
    this.#replayFloor = originBytes;
  }

  /** The request is about to be sent for the first time. */
  assign(origin: string): void {
    this.#update({ origin });
  }

  /**
   * The request is about to be sent again, under another private name: the one before may yet reach the origin, and two
   * requests of one name end each other's sessions at the wrong moment.
   */
  prepareResend(originId: string, hasBroken: boolean): void {
    this.#replayFloor = 0;
    this.#update(resent(this.#record, originId, hasBroken));
  }

  /** The same, to another origin. */
  move(origin: string, originId: string, isSure: boolean): void {
    this.#replayFloor = 0;
    this.#update(moved(this.#record, origin, originId, isSure));
  }

  /** The producer has a new connection to the origin. */
  reattached(): void {
    this.#update({ reattached: this.#record.reattached + 1 });
  }

  #update(change: Partial<SessionRecord>): void {
    this.#record = { ...this.#record, ...change };
    this.#host.save(this.#record, "keep");
  }

  /**
   * Ends the session; readers get the ending's frame and then a clean end. Does nothing when it has ended already. What
   * is not kept (a stopped session) its owner deletes.
   */
  finish(end: EndedState["end"], error?: ErrorBody): void {
    const brokenFrom = error && this.log.originBytes < this.#replayFloor ? this.log.end : undefined;
    const event = { type: "ended", end, at: this.#clock.now(), error, brokenFrom } as const;
    this.#end(event, error ?? (end === "stopped" ? end : undefined), end !== "stopped");
  }

  /** The origin did not accept the request: it never was a session. Readers that waited get `error`. */
  refuse(failure: StartFailure, error: ErrorBody): void {
    this.#end({ type: "refused", at: this.#clock.now(), failure }, error, false);
  }

  #end(event: SessionEvent, ending: ErrorBody | "stopped" | undefined, isKept: boolean): void {
    if (!this.#change(event)) return;
    this.#keepalive.stop();
    this.#cancelFlush?.();
    try {
      if (isKept) {
        this.log.flush();
        this.#forgetRequest();
      } else {
        this.log.detach();
      }
      if (ending && this.isEventStream) this.#addFrame(endFrame(this.#record.family, ending, this.#isAtBoundary));
    } catch (cause) {
      this.#breakOff(cause);
    }
    this.#host.onEnd(this);
    this.audience.notifyNow();
  }

  /** Returns whether the event changed the state. */
  #change(event: SessionEvent): boolean {
    const state = nextState(this.#record.state, event);
    if (state === this.#record.state) return false;
    this.#record = { ...this.#record, state };
    return true;
  }

  /**
   * Whether a client that has the bytes up to `from` has other ones than the log, or more of them: its answer broke off
   * where it cannot see it, and an end would pass for the end of the answer.
   */
  hasLost(from: number): boolean {
    const brokenFrom = brokenFromOf(this.#record.state);
    return this.#isBroken || (brokenFrom !== undefined && from > brokenFrom);
  }

  /** The session has ended and all its bytes are visible: a reader at the end is done. */
  get isDrained(): boolean {
    return !this.isLive && !this.log.hasBarrier;
  }

  #addFrame(frame: Uint8Array): void {
    this.#notifyAfter(this.log.appendFrame(frame));
  }

  /** Wakes readers when what they may see is synced. */
  #notifyAfter(synced: Promise<void>): void {
    synced.then(
      () => this.audience.notifyNow(),
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
    this.audience.notifyNow();
  }

  #ping(): void {
    if (!this.isEventStream || !this.#isAtBoundary || this.log.originBytes < this.#replayFloor) return;
    this.#guarded(() => this.#addFrame(PING));
  }

  #flush(): void {
    this.#cancelFlush = undefined;
    this.#guarded(() => this.log.flush());
  }

  #guarded(timedWork: () => void): void {
    try {
      timedWork();
    } catch (error) {
      this.#host.onError(this, error);
    }
  }
}
