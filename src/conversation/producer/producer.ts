/**
 * The origin's bytes into a session: asks, reads, goes on at the exact byte when a connection breaks, and says how it
 * ended. One per live session; it goes on whoever is or is not reading. What follows what is in phase.ts, when waiting is
 * over in watchdog.ts, the bytes are connection-reader.ts: here is what touches the network.
 *
 * It never ends the session: its owner does, as `run` says.
 */

import type { Clock } from "../../clock.ts";
import { type Attachment, type OriginSession, STALE_CONNECTION_MS } from "../../origin/origin.ts";
import type { Session } from "../session/session.ts";
import { contentTypeOf } from "../session/session-state.ts";
import { Backoff } from "./backoff.ts";
import { Connection } from "./connection.ts";
import { ConnectionReader } from "./connection-reader.ts";
import { STOP_GRACE_MS } from "./pending-stops.ts";
import {
  type Cause,
  type Facts,
  metNoOrigin,
  next,
  type Observation,
  type Phase,
  type Resend,
  type Verdict,
} from "./phase.ts";
import type { Route } from "./route.ts";
import type { ProducerLimits } from "./watchdog.ts";
import { Watcher } from "./watcher.ts";

/** After an immediate connection failure, how long to keep asking before answering 502. */
const FIRST_CONTACT_MS = 5_000;
/** The same before another origin is asked. Several tries: connections that the server has closed are not a server gone. */
const MOVE_AFTER_MS = 500;
/**
 * Between the two lookups that must both say "unknown" before a resend: llama-server lists a request only when it has read
 * it and made its prompt, and a gateway that was killed may have sent one just before.
 */
const RELOOKUP_DELAY_MS = 500;
/**
 * How often one request is sent, at most. A gateway that restarts again and again while the origin is full takes several.
 */
const MAX_REQUESTS = 8;
/**
 * The pauses before a request is sent again because it broke before a byte of its answer; as many times as there are. From
 * here a prompt that crashes the server looks like a tunnel that was restarted. A tunnel is back within seconds; the server
 * gets time to start and to serve others, and after four crashes no further prompt of this kind.
 */
const RESEND_PAUSES_MS = [0, 2_000, 15_000];
/** A connection that stood for this long was a good one, even when the origin sent nothing on it. */
const STABLE_CONNECTION_MS = 10_000;

export class Producer {
  readonly #session: Session;
  readonly #route: Route;
  readonly #limits: ProducerLimits;
  readonly #clock: Clock;
  readonly #newId: () => string;
  readonly #reader: ConnectionReader;
  readonly #backoff = new Backoff();
  readonly #connection: Connection;
  readonly #watcher: Watcher;
  /** The head of the answer that is to be read next. */
  #response: Response | undefined;
  /** The origin has answered, with a head or as a session that can be read: a stop reaches all there is. */
  #isAnswered: boolean;
  /** Since when the answer has not grown, Unix milliseconds; `undefined` while it does. */
  #stalledAt: number | undefined;
  /** Set by the watchdog. */
  #limit: (Observation & { saw: "limit" })["end"] | undefined;

  constructor(session: Session, route: Route, limits: ProducerLimits, clock: Clock, newId: () => string) {
    this.#session = session;
    this.#route = route;
    this.#limits = limits;
    this.#clock = clock;
    this.#newId = newId;
    this.#reader = new ConnectionReader(session, clock);
    this.#isAnswered = contentTypeOf(session.record.state) !== undefined;
    this.#connection = new Connection(clock);
    this.#watcher = new Watcher(session, this.#reader, this.#connection, route, limits, clock, {
      isAnswered: () => this.#isAnswered,
      giveUp: (end) => {
        this.#limit = end;
        this.#connection.leave();
      },
    });
  }

  /** From the request, or from a restart of the object, to the answer's end. Called once. */
  async run(from: "start" | "restart"): Promise<Verdict> {
    // A session without an origin has not asked any.
    const isUnsent = from === "start" || this.#session.record.origin === undefined;
    let phase: Phase = isUnsent
      ? { name: "asking", resend: undefined }
      : { name: "finding", cause: { kind: "restarted" } };
    // A reader may have seen more than was stored; how much at most, the origin tells.
    if (from === "restart" && this.#isAnswered) this.#session.caughtUpAt(Number.POSITIVE_INFINITY);
    this.#watcher.start();
    try {
      while (phase.name !== "over") {
        const seen: Observation = this.#route.isGone ? { saw: "gone" } : await this.#observe(phase);
        phase = next(phase, this.#override() ?? seen, this.#facts());
      }
      return phase.verdict;
    } finally {
      this.#watcher.stop();
      this.#connection.leave();
    }
  }

  /**
   * The session has ended. Returns whether the origin has answered the request: if not, the request may still be on its way,
   * and the connection, which says when it has come, is left open for a while.
   */
  close(): boolean {
    if (this.#isAnswered) this.#connection.leave();
    else void this.#connection.pause(STOP_GRACE_MS).then(() => this.#connection.leave());
    return this.#isAnswered;
  }

  /** What counts before all that was seen: an ending from outside, or by the watchdog. */
  #override(): Observation | undefined {
    if (!this.#session.isLive) return { saw: "ended_elsewhere" };
    return this.#limit === undefined ? undefined : { saw: "limit", end: this.#limit };
  }

  #facts(): Facts {
    const { record, log, isEventStream, request } = this.#session;
    const isWithinBounds =
      record.abandoned.length + 1 < MAX_REQUESTS && record.brokenRequests < RESEND_PAUSES_MS.length;
    return {
      wantsStream: record.wantsStream,
      isEventStream,
      mayResend: request.isHeld && isWithinBounds,
      isAccepted: contentTypeOf(record.state) !== undefined,
      hasBytes: log.originBytes > 0,
      hasNextOrigin: this.#route.next !== undefined,
    };
  }

  async #observe(phase: Exclude<Phase, { name: "over" }>): Promise<Observation> {
    switch (phase.name) {
      case "asking":
        return await this.#ask(phase.resend);
      case "finding":
        return await this.#find(phase.cause);
      case "attaching":
        return await this.#attach();
      case "reading":
        return await this.#read();
      default:
        return phase satisfies never;
    }
  }

  async #ask(resend: Resend | undefined): Promise<Observation> {
    const failure = resend ? await this.#prepare(resend) : await this.#route.choose();
    if (!this.#session.isLive) return { saw: "ended_elsewhere" };
    if (failure) return { saw: "refused", failure, isUntaken: true };
    const { path, originId } = this.#session.record;
    const started = this.#clock.now();
    const request = this.#session.request.take();
    const opening = await this.#connection.open((signal) => this.#route.generate(path, request, originId, signal));
    if ("opened" in opening) {
      this.#isAnswered = true;
      this.#response = opening.opened;
      if (this.#session.isLive) this.#session.accept(opening.opened.headers.get("Content-Type") ?? "");
      return { saw: "head" };
    }
    const { isUntaken } = opening;
    if ("refused" in opening) return { saw: "refused", failure: opening.refused, isUntaken };
    const wasQuick = this.#clock.now() - started < STALE_CONNECTION_MS;
    return { saw: "no_answer", failure: opening.noAnswer, wasQuick, isUntaken };
  }

  /** Makes the request ready to be sent once more. */
  async #prepare(resend: Resend): Promise<undefined> {
    const { record } = this.#session;
    if (resend.to === "same origin") {
      const pauseMs = RESEND_PAUSES_MS[record.brokenRequests] ?? 0;
      await this.#connection.pause(resend.hasBroken ? pauseMs : 0);
      if (this.#session.isLive) this.#session.prepareResend(this.#newId(), resend.hasBroken);
      return;
    }
    const { next } = this.#route;
    if (next === undefined) throw new Error("A request moves only where there is another origin");
    const { session, origin } = record;
    console.log(JSON.stringify({ event: "next_origin", session, origin, next, isSure: resend.isSure }));
    this.#session.move(next, this.#newId(), resend.isSure);
    this.#backoff.reset();
  }

  /** Asks the origin what it knows of the session until it answers, or for a time that depends on the cause. */
  async #find(cause: Cause): Promise<Observation> {
    const deadline = this.#clock.now() + this.#patienceMs(cause);
    // Where "unknown" would have the request sent again, the origin has to say it twice.
    let isSure = !this.#session.request.isHeld;
    for (;;) {
      await this.#connection.pause(Math.min(this.#backoff.next(), deadline - this.#clock.now()));
      const found: OriginSession = await this.#route.find(this.#session.record.originId);
      if (!this.#session.isLive) return { saw: "ended_elsewhere" };
      if (found.state === "known" && cause.kind === "restarted") this.#session.caughtUpAt(found.totalBytes);
      if (found.state === "unknown" && !isSure) {
        isSure = true;
        await this.#connection.pause(RELOOKUP_DELAY_MS);
      } else if (found.state !== "unreachable" || this.#clock.now() >= deadline || this.#limit !== undefined) {
        return { saw: found.state };
      }
    }
  }

  /** How long to wait for the origin to say what it knows of the request. */
  #patienceMs(cause: Cause): number {
    if (!metNoOrigin(cause)) return this.#limits.reconnectMs;
    return this.#route.next === undefined ? FIRST_CONTACT_MS : MOVE_AFTER_MS;
  }

  /** A new connection at the byte behind the last whole event, within the reconnect time. */
  async #attach(): Promise<Observation> {
    const { log, record } = this.#session;
    this.#stalledAt ??= this.#clock.now();
    for (;;) {
      const now = this.#clock.now();
      const deadline = this.#stalledAt + this.#limits.reconnectMs;
      if (now >= deadline) return { saw: "unreachable" };
      await this.#connection.pause(Math.min(this.#backoff.next(), deadline - now));
      if (this.#override()) return { saw: "unreachable" };
      const cancel = this.#clock.after(Math.max(0, deadline - this.#clock.now()), () => this.#connection.cut());
      const attachment: Attachment = await this.#connection.open((signal) =>
        this.#route.attach(record.originId, log.originBytes, signal),
      );
      cancel();
      if (!this.#session.isLive) return { saw: "ended_elsewhere" };
      if (attachment === "unknown" || attachment === "lost") return { saw: "lost" };
      // The origin is there, and a model may take long to load.
      if (attachment === "loading") this.#stalledAt = this.#clock.now();
      else if (attachment !== "unreachable") {
        this.#isAnswered = true;
        this.#response = attachment.response;
        this.#session.reattached();
        return { saw: "head" };
      }
    }
  }

  async #read(): Promise<Observation> {
    const body = this.#response?.body ?? null;
    this.#response = undefined;
    const { log, isEventStream } = this.#session;
    const before = { logged: log.originBytes, received: this.#reader.received, at: this.#clock.now() };
    this.#connection.isOpen = true;
    const bodyEnded = isEventStream
      ? await this.#reader.readEvents(body)
      : await this.#reader.readJson(body, this.#limits.retainedBytes);
    this.#connection.isOpen = false;
    if (bodyEnded === "too_large") return { saw: "limit", end: "too_large" };
    const grew = log.originBytes > before.logged;
    const wasSilent = this.#reader.received === before.received;
    // Progress is what reached the log: an origin that sends half an event again and again is as good as away.
    if (grew || (wasSilent && this.#clock.now() - before.at > STABLE_CONNECTION_MS)) {
      this.#stalledAt = undefined;
      this.#backoff.reset();
    }
    const isComplete = isEventStream ? this.#session.isLive && this.#reader.isComplete : bodyEnded;
    return { saw: "end", bodyEnded, isComplete, grew };
  }
}
