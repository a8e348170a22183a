/**
 * The Durable Object of one conversation of one tenant: it holds at most one live session, keeps it alive when no client
 * is there, and answers replay, stop and lookup. Only this class holds `ctx`.
 *
 *     kept        current
 *   ┌───────┐   ┌──────────────┐
 *   │ ended │   │ asking/live/ │     kept: the session before, only while the origin has not taken the current
 *   │       │   │ ended        │     one; if the origin refuses it, the kept one is current again
 *   └───────┘   └──────────────┘
 */
import { DurableObject } from "cloudflare:workers";
import { type Config, configOf } from "../config.ts";
import { ApiError, badRequest, type ErrorBody, errorResponse, fenced, notFound } from "../errors.ts";
import { Origin } from "../origin/origin.ts";
import { EVENT_STREAM, JSON_TYPE, type LookupRow, lookupMatches, SESSION_HEADER } from "../protocol.ts";
import type { Slot } from "./log/keys.ts";
import { ReplayLog } from "./log/replay-log.ts";
import type { LogStorage } from "./log/sql.ts";
import { decode, type ReplayRequest, type StartRequest, type StopAnswer, type StopRequest } from "./messages.ts";
import { PendingStops } from "./pending-stops.ts";
import { Producer, type Refusal } from "./producer.ts";
import { readFrom } from "./reader.ts";
import { Records, StorageVersionError } from "./records.ts";
import { Session, type SessionHost, type SessionRecord } from "./session.ts";
import { storageOf } from "./storage.ts";

/** An object that pulls with no client attached is killed after 70 s at the earliest; a beating alarm prevents it. */
const HEARTBEAT_MS = 25_000;

/** Between two tries to stop a generation at an origin that cannot be reached. */
const STOP_RETRY_MS = 10_000;

/** A session and what belongs to it in this object. */
interface Entry {
  readonly session: Session;
  readonly slot: Slot;
  readonly producer: Producer;
  refusal: Refusal | ApiError | undefined;
}

export class Conversation extends DurableObject<Env> {
  readonly #config: Config;
  readonly #origin: Origin;
  readonly #storage: LogStorage;
  readonly #records: Records;
  readonly #pendingStops: PendingStops;
  /** Restored from its rows after a restart. */
  #current: Entry | undefined;
  #kept: Entry | undefined;
  /** Resolves when the origin has heard of every stop so far. Not restored: what it waits for is over by then. */
  #slotFreed: Promise<void> = Promise.resolve();

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#config = configOf(env);
    this.#origin = new Origin(this.#config.origin);
    this.#storage = storageOf(ctx.storage);
    this.#records = new Records(this.#storage.sql);
    this.#pendingStops = new PendingStops(ctx.storage.sql);
    this.#restore();
  }

  /** The streams: POST /generate starts (or joins) a session, GET and HEAD /replay read it. Only the Worker calls it. */
  override async fetch(request: Request): Promise<Response> {
    try {
      const message = decode(request);
      if ("start" in message) return await this.#generate(await this.#enter(message.start, request));
      return await this.#replay(message.replay);
    } catch (error) {
      if (error instanceof ApiError) return errorResponse(error);
      throw error;
    }
  }

  /** The rows of those of `ids` that name the current session, one for each time it is named. */
  lookup(ids: readonly string[]): (LookupRow | undefined)[] {
    const session = this.#current?.session;
    return ids.map((id) => (session && lookupMatches(id, session.record.id) ? session.lookupRow() : undefined));
  }

  /**
   * Ends the session of exactly this id and forgets it: nothing can be replayed afterwards. Frees the GPU. With a fence
   * that names another session it does nothing but say which one the conversation has.
   */
  async stop({ id, session }: StopRequest): Promise<StopAnswer> {
    const current = this.#current;
    if (current?.session.record.id === id) {
      const by = current.session.record.session;
      if (session !== undefined && session !== by) return { replacedBy: by };
      if (current.session.isLive) {
        current.session.finish("stopped");
        this.ctx.waitUntil(this.#freeSlot(current.producer));
      }
      await this.#fallBack(current, id);
    } else if (this.#kept?.session.record.id === id) {
      this.#discard(this.#kept);
      this.#kept = undefined;
    }
    return { replacedBy: undefined };
  }

  /** The heartbeat of a live session, the expiry of the ended one, the retry of stops that the origin has not heard. */
  override async alarm(): Promise<void> {
    if (!this.#pendingStops.isEmpty) await this.#pendingStops.retry(this.#origin, Date.now());
    const session = this.#current?.session;
    if (!session || this.#alarmTime(session) <= Date.now()) await this.#forgetAll();
    else await this.#armAlarm();
  }

  async #enter(start: StartRequest, request: Request): Promise<Entry> {
    const body = new Uint8Array(await request.arrayBuffer());
    return this.#joinable(start) ?? this.#begin(start, body);
  }

  async #generate(entry: Entry): Promise<Response> {
    const { session } = entry;
    while (session.isLive && session.record.contentType === undefined) await session.changed();
    if (entry.refusal instanceof ApiError) throw entry.refusal;
    if (entry.refusal) {
      const { status, contentType, body } = entry.refusal;
      return new Response(body, { status, headers: { "Content-Type": contentType } });
    }
    return await this.#answer(session, 0);
  }

  /** The session that this request is a retry of: the SDK's network dropped, and the GPU is not to work twice. */
  #joinable(start: StartRequest): Entry | undefined {
    const record = this.#current?.session.record;
    if (!record || record.id !== start.id || record.path !== start.path) return undefined;
    if (start.isRetry && start.bodyHash === record.replacedHash && start.bodyHash !== record.bodyHash) {
      throw new ApiError(409, "conversation_replaced", "A newer request took this conversation over");
    }
    const hasSameKey = start.idempotencyKey !== undefined && start.idempotencyKey === record.idempotencyKey;
    const hasSameBody = start.bodyHash === record.bodyHash;
    if (hasSameKey && !hasSameBody) {
      throw new ApiError(422, "invalid_request_error", "This Idempotency-Key was used with another request body");
    }
    if (!hasSameKey && !(start.isRetry && hasSameBody)) return undefined;
    return record.end === null || record.end === "done" ? this.#current : undefined;
  }

  /** Makes the new session the current one, durably, before anything is awaited: of two POSTs at once the last wins. */
  #begin(start: StartRequest, body: Uint8Array): Entry {
    this.#records.create();
    const replacedHash = this.#current?.session.isLive ? this.#current.session.record.bodyHash : undefined;
    if (this.#current) this.#replace(this.#current);
    const slot: Slot = this.#kept?.slot === 0 ? 1 : 0;
    const record: SessionRecord = {
      session: crypto.randomUUID(),
      originId: crypto.randomUUID(),
      abandonedIds: [],
      id: start.id,
      path: start.path,
      family: start.family,
      wantsStream: start.wantsStream,
      idempotencyKey: start.idempotencyKey,
      bodyHash: start.bodyHash,
      startedAt: Date.now(),
      reattached: 0,
      contentType: undefined,
      completedAt: undefined,
      end: null,
      error: undefined,
      lostFrom: undefined,
      replacedHash,
    };
    const log = ReplayLog.create(this.#storage, slot, this.#config.retainedBytes);
    const session = new Session(record, log, this.#host(slot));
    const entry = this.#entry(session, slot, body);
    this.#current = entry;
    this.#records.add(slot, JSON.stringify(record), body);
    this.ctx.waitUntil(this.#run(entry));
    return entry;
  }

  /** The end of `old`, which is kept if the origin had taken it. */
  #replace(old: Entry): void {
    if (old.session.isLive) {
      const message = "A newer request took this conversation over";
      old.session.finish("replaced", { code: 409, message, type: "conversation_replaced" });
      this.ctx.waitUntil(this.#freeSlot(old.producer));
    }
    if (old.session.record.contentType === undefined) {
      this.#discard(old);
    } else {
      if (this.#kept) this.#discard(this.#kept);
      this.#kept = old;
    }
  }

  /** Stops the origin's work for a session that has ended. The next question to the origin waits for it. */
  #freeSlot(producer: Producer): Promise<void> {
    this.#slotFreed = Promise.all([this.#slotFreed, producer.stop()]).then(() => undefined);
    return this.#slotFreed;
  }

  /** One session from the request to its end. Runs whether or not a client is there. */
  async #run(entry: Entry): Promise<void> {
    await this.#guarded(entry, async () => {
      await this.#armAlarm();
      await this.#slotFreed;
      if (!entry.session.isLive) return;
      await this.#settle(entry, entry.producer.run());
    });
  }

  /** A session that was live when the object died goes on. */
  async #resume(entry: Entry): Promise<void> {
    await this.#guarded(entry, async () => {
      await this.#armAlarm();
      await this.#settle(entry, entry.producer.resume());
    });
  }

  async #settle(entry: Entry, production: Promise<Refusal | ApiError | undefined>): Promise<void> {
    const refusal = await production;
    if (refusal && entry.session.isLive) await this.#refuse(entry, refusal);
  }

  /** Whatever goes wrong with a session, it ends, and its alarm is set to the expiry. */
  async #guarded(entry: Entry, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#interrupt(entry, error);
    }
    if (this.#current === entry) await this.#armAlarm();
  }

  #accept(session: Session, contentType: string): void {
    // What the session before left is gone for good with this one's first byte.
    if (this.#kept) this.#discard(this.#kept);
    this.#kept = undefined;
    session.accept(contentType);
  }

  /** The origin did not take the request: it never was a session, and the one before is current again. */
  async #refuse(entry: Entry, refusal: Refusal | ApiError): Promise<void> {
    entry.refusal = refusal;
    entry.session.finish("refused", refusal instanceof ApiError ? refusal.body : refusalError(refusal));
    if (this.#current === entry) await this.#fallBack(entry);
    else this.#discard(entry);
  }

  /** Without `entry`: the session that was kept is the current one again, unless it bears the `forgotten` id, too. */
  async #fallBack(entry: Entry, forgotten?: string): Promise<void> {
    const kept = this.#kept;
    if (!kept || kept.session.record.id === forgotten) {
      await this.#forgetAll();
      return;
    }
    this.#discard(entry);
    this.#current = kept;
    this.#kept = undefined;
    await this.#armAlarm();
  }

  /** Something of ours failed: the session ends, and says so. */
  #interrupt({ session, producer }: Entry, error: unknown): void {
    console.error(error);
    if (!session.isLive) return;
    const message = "The gateway failed in the middle of the answer";
    session.finish("interrupted", { code: 500, message, type: "interrupted" });
    this.ctx.waitUntil(this.#freeSlot(producer));
  }

  async #replay({ id, session: named, from, isHead }: ReplayRequest): Promise<Response> {
    const session = this.#current?.session;
    if (session?.record.id !== id) throw unknownSession();
    if (this.#alarmTime(session) <= Date.now()) throw unknownSession();
    if (named !== undefined && named !== session.record.session) throw fenced(named, session.record.session);
    if (from === undefined) throw badRequest("Invalid 'from' offset");
    if (isHead) return new Response(null, { headers: answerHeaders(session) });
    return await this.#answer(session, from);
  }

  async #answer(session: Session, from: number): Promise<Response> {
    if (!session.isEventStream) await session.ended();
    const { error, end } = session.record;
    if (!session.isEventStream) {
      if (end === "stopped") throw new ApiError(409, "conversation_stopped", "The conversation was stopped");
      if (error) throw new ApiError(error.code, error.type, error.message);
    }
    if (from < session.log.start || session.hasLost(from)) throw badRequest("Stream offset lost, please restart");
    const stream = readFrom(session, from);
    const body = session.isEventStream ? stream : await new Response(stream).arrayBuffer();
    return new Response(body, { headers: answerHeaders(session) });
  }

  /** The next heartbeat of a live session, the expiry of an ended one, Unix milliseconds. */
  #alarmTime({ record }: Session): number {
    const { completedAt } = record;
    return completedAt === undefined ? Date.now() + HEARTBEAT_MS : completedAt + this.#config.sessionTtlMs;
  }

  async #armAlarm(): Promise<void> {
    const session = this.#current?.session;
    const times = session ? [this.#alarmTime(session)] : [];
    if (!this.#pendingStops.isEmpty) times.push(Date.now() + STOP_RETRY_MS);
    if (times.length > 0) await this.ctx.storage.setAlarm(Math.min(...times));
  }

  /** An empty object: no rows, no alarm; it ceases to exist. But for stops that the origin has still to hear. */
  async #forgetAll(): Promise<void> {
    const entries = [this.#current, this.#kept].filter((entry) => entry !== undefined);
    this.#current = undefined;
    this.#kept = undefined;
    if (this.#pendingStops.isEmpty) {
      for (const { session } of entries) session.log.detach();
      await this.ctx.storage.deleteAll();
    } else {
      for (const entry of entries) this.#discard(entry);
      await this.#armAlarm();
    }
  }

  #discard(entry: Entry): void {
    entry.session.log.delete();
    this.#records.delete(entry.slot);
  }

  #host(slot: Slot): SessionHost {
    return {
      now: () => Date.now(),
      newId: () => crypto.randomUUID(),
      saveRecord: (record) => {
        if (record.end === null) this.#records.save(slot, JSON.stringify(record));
        else this.#records.saveWithoutRequest(slot, JSON.stringify(record));
      },
      onEnd: logEnd,
      onError: (session, error) => {
        const entry = [this.#current, this.#kept].find((candidate) => candidate?.session === session);
        if (entry) this.#interrupt(entry, error);
      },
    };
  }

  #entry(session: Session, slot: Slot, request: Uint8Array | undefined): Entry {
    const producer = new Producer(session, request, this.#origin, this.#config, {
      accepted: (contentType) => this.#accept(session, contentType),
      delivered: () => {
        this.#records.saveWithoutRequest(slot, JSON.stringify(session.record));
        session.barrier();
      },
      unheard: (originIds) => {
        this.#pendingStops.add(originIds, Date.now() + this.#config.maxGenerationMs);
        this.ctx.waitUntil(this.#armAlarm());
      },
    });
    return { session, slot, producer, refusal: undefined };
  }

  #restore(): void {
    if (!this.#records.exists) return;
    const sessions = this.#records.sessions();
    if (sessions instanceof StorageVersionError) throw sessions;
    const entries = sessions.map(({ slot, record: text }): Entry => {
      const record = JSON.parse(text) as SessionRecord;
      const log = ReplayLog.restore(this.#storage, slot, this.#config.retainedBytes);
      const session = new Session(record, log, this.#host(slot));
      return this.#entry(session, slot, session.isLive ? this.#records.request(slot) : undefined);
    });
    // Only the current one can be live; a clock that stepped back does not make it the older one.
    entries.sort((a, b) => Number(b.session.isLive) - Number(a.session.isLive) || startOf(b) - startOf(a));
    [this.#current, this.#kept] = entries;
    if (this.#current?.session.isLive) this.ctx.waitUntil(this.#resume(this.#current));
    else this.ctx.waitUntil(this.#ensureAlarm());
  }

  /** An alarm that the platform gave up on, or lost, would leave the rows for ever. */
  async #ensureAlarm(): Promise<void> {
    if ((await this.ctx.storage.getAlarm()) === null) await this.#armAlarm();
  }
}

function startOf({ session }: Entry): number {
  return session.record.startedAt;
}

function unknownSession(): ApiError {
  return notFound("No session of this conversation: it is unknown, expired or stopped");
}

/** One line a session: what an operator needs to see how it went. No conversation id, no text. */
function logEnd({ record, log }: Session): void {
  const ms = (record.completedAt ?? record.startedAt) - record.startedAt;
  const { session, end, reattached } = record;
  console.log(JSON.stringify({ event: "session_end", session, end, bytes: log.end, reattached, ms }));
}

function answerHeaders(session: Session): Headers {
  const headers = new Headers({ "Cache-Control": "no-store", [SESSION_HEADER]: session.record.session });
  // Before the origin has answered, what the request asked for is all there is to go by.
  headers.set("Content-Type", session.record.contentType ?? (session.isEventStream ? EVENT_STREAM : JSON_TYPE));
  // llama-server sends it too: proxies in front of us are not to collect events.
  if (session.isEventStream) headers.set("X-Accel-Buffering", "no");
  return headers;
}

/** What the origin said, as the last event for readers that were already waiting for its answer. */
function refusalError(refusal: Refusal): ErrorBody {
  const said = new TextDecoder().decode(refusal.body);
  return { code: refusal.status, message: `The origin refused the request: ${said}`, type: "server_error" };
}
