/**
 * The Durable Object of one conversation of one tenant: it holds at most one live session, keeps it alive when no client
 * is there, and answers replay, stop and lookup. Only this class holds `ctx`. What follows what is decided elsewhere
 * (succession.ts, join.ts, alarm.ts, producer/phase.ts); here it is done.
 */
import { DurableObject } from "cloudflare:workers";
import { systemClock } from "../clock.ts";
import { type Config, configOf } from "../config.ts";
import { ApiError, errorResponse, internalError } from "../errors.ts";
import { type OriginPool, poolOf } from "../origin/pool.ts";
import { type LookupRow, lookupMatches } from "../protocol.ts";
import { storageOf } from "../storage/object-storage.ts";
import type { Standing } from "../tenant/messages.ts";
import type { ActiveSession } from "./active-session.ts";
import { isExpired, nextAlarm } from "./alarm.ts";
import { opening, refusalError, replay } from "./answer.ts";
import { asReplaced, joins, remember } from "./join.ts";
import { decode, type StartRequest, type StopAnswer, type StopRequest } from "./messages.ts";
import { failureCode, failureError, type SessionFailure } from "./producer/failure-messages.ts";
import type { Verdict } from "./producer/phase.ts";
import { StorageVersionError } from "./records.ts";
import { lookupRow } from "./session/lookup-row.ts";
import type { Session } from "./session/session.ts";
import { SessionPair } from "./session-pair.ts";
import { SessionStore } from "./session-store.ts";
import { SlotRelease } from "./slot-release.ts";
import { TenantReports, tenantLink } from "./tenant-reports.ts";

export class Conversation extends DurableObject<Env> {
  readonly #config: Config;
  readonly #origins: OriginPool;
  readonly #sessions: SessionStore;
  readonly #slots: SlotRelease;
  readonly #reports: TenantReports;
  readonly #pair: SessionPair;
  /** What is stored cannot be read: it stays until the alarm, or a new request, and is no answer until then. */
  #unreadable: StorageVersionError | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#config = configOf(env);
    this.#origins = poolOf(this.#config.origins);
    const storage = storageOf(ctx.storage);
    const { name } = ctx.id;
    if (name === undefined) throw new Error("A conversation's object is found by its name");
    this.#reports = new TenantReports(tenantLink(env.TENANT, name), env.USAGE);
    this.#slots = new SlotRelease(storage.sql, this.#origins, this.#reports, this.#config.maxGenerationMs);
    this.#sessions = new SessionStore(name, storage, this.#origins, this.#config, systemClock, {
      onAccepted: (session) => this.#accepted(session),
      onEnd: (session) => this.#ended(session),
      onError: (session, error) => {
        const member = this.#pair.memberOf(session);
        if (member) this.#interrupt(member, error);
      },
    });
    this.#pair = new SessionPair({
      onEnd: (member) => this.#freeSlot(member),
      onDelete: (member) => this.#sessions.delete(member),
    });
    this.#restore();
  }

  /** The streams: a start begins or joins a session, a replay reads it. Only the Worker calls it. */
  override async fetch(request: Request): Promise<Response> {
    try {
      const message = decode(request);
      if ("replay" in message) return await replay(this.#present?.session, message.replay, this.#unreadable);
      return await opening(await this.#joinOrBegin(message.start, request));
    } catch (error) {
      return errorResponse(error instanceof ApiError ? error : internalError(error));
    }
  }

  /** The rows of those of `ids` that name the current session, one for each time it is named. */
  lookup(ids: readonly string[]): (LookupRow | undefined)[] {
    const session = this.#present?.session;
    return ids.map((id) => (session && lookupMatches(id, session.record.id) ? lookupRow(session) : undefined));
  }

  /**
   * Ends the session of exactly this id and forgets it: nothing can be replayed afterwards. Frees the GPU; that it is to be
   * freed is stored before this returns. With a fence that names another session it only says which one there is.
   */
  async stop({ id, session }: StopRequest): Promise<StopAnswer> {
    const named = this.#pair.current?.session;
    const current = named?.record;
    if (session !== undefined && current?.id === id && current.session !== session) {
      return { replacedBy: current.session, found: true };
    }
    const wasLive = this.#pair.current?.session.isLive === true;
    const found = this.#pair.change({ type: "stopped", id });
    if (found) {
      await this.#rearm();
      // Struck off before the client knows that it is gone.
      if (wasLive) await this.#reports.reported;
      else if (named && this.#pair.current?.session !== named) await this.#reports.struck(named);
    }
    return { replacedBy: undefined, found };
  }

  /** The heartbeat of a live session, the expiry of an ended one, the retry of stops that the origin has not acknowledged. */
  override async alarm(): Promise<void> {
    await this.#slots.retry();
    const current = this.#present?.session;
    if (!current) this.#pair.change({ type: "expired" });
    await this.#rearm();
    if (current?.isLive) await this.#reports.renewed(current);
  }

  /** For the tenant's object, which asks when it has not heard of a session for two heartbeats. */
  standing(): Standing {
    return this.#reports.standing(this.#present?.session, this.#config.sessionTtlMs);
  }

  /** The tenant's index is told beside it: the answer waits for no other object. */
  async #joinOrBegin(start: StartRequest, request: Request): Promise<Session> {
    const body = new Uint8Array(await request.arrayBuffer());
    const current = this.#present;
    const decision = joins(start, current?.session.record);
    if (decision instanceof ApiError) throw decision;
    const isJoin = current !== undefined && decision === "join";
    const { session } = isJoin ? current : this.#begin(start, body);
    const { ticket } = start;
    this.ctx.waitUntil(isJoin ? this.#reports.joined(session, ticket) : this.#reports.renewed(session, ticket));
    return session;
  }

  /** The current session, unless it has expired: an alarm may be late. */
  get #present(): ActiveSession | undefined {
    const { current } = this.#pair;
    return current && !isExpired(current.state, Date.now(), this.#config.sessionTtlMs) ? current : undefined;
  }

  /** Makes the new session the current one, durably, before anything is awaited: of two POSTs at once the last wins. */
  #begin(start: StartRequest, body: Uint8Array): ActiveSession {
    const before = this.#pair.current?.session;
    const wasLive = before?.isLive === true;
    this.#pair.change({ type: "replacing" });
    const now = Date.now();
    const replaced = wasLive ? asReplaced(before.record, before.log.end, now) : undefined;
    const remembered = remember(before?.record.replaced ?? [], replaced, now - this.#config.sessionTtlMs);
    try {
      if (this.#unreadable) this.#sessions.deleteUnreadable();
      this.#unreadable = undefined;
      const slot = this.#pair.previous?.slot === 0 ? 1 : 0;
      const member = this.#sessions.create(start, body, slot, before?.record, remembered);
      this.#pair.change({ type: "begun", member });
      this.ctx.waitUntil(this.#run(member, "start"));
      return member;
    } catch (error) {
      // What could not be stored does not exist; the session before, if it is kept, can be replayed.
      this.#pair.restore(this.#pair.previous, undefined);
      throw error;
    }
  }

  /** One session from the request, or from a restart, to its end. Runs whether or not a client is there. */
  async #run(member: ActiveSession, from: "start" | "restart"): Promise<void> {
    const { session, producer } = member;
    try {
      await this.#rearm();
      if (from === "start") await this.#slots.tried;
      const verdict: Verdict = session.isLive ? await producer.run(from) : { is: "ended_elsewhere" };
      this.#conclude(member, verdict);
    } catch (error) {
      this.#interrupt(member, error);
    }
    await this.#rearm();
  }

  #conclude(member: ActiveSession, verdict: Verdict): void {
    const { session } = member;
    switch (verdict.is) {
      case "ended":
        if (verdict.end === "done") {
          session.finish("done");
        } else {
          this.#fail(member, verdict.end);
        }
        break;
      case "refused":
        session.refuse(verdict.failure, refusalError(verdict.failure));
        this.#pair.change({ type: "refused", member });
        // Not by the origin's own word: it may have the request all the same.
        if (verdict.failure instanceof ApiError) this.#freeSlot(member);
        break;
      case "ended_elsewhere":
        this.ctx.waitUntil(this.#slots.settle(session));
        break;
      default:
        verdict satisfies never;
    }
  }

  /** Something of ours failed: the session ends, and says so. */
  #interrupt(member: ActiveSession, error: unknown): void {
    console.error(error);
    if (!member.session.isLive) return;
    this.#fail(member, "gateway_failed");
  }

  #fail(member: ActiveSession, failure: SessionFailure): void {
    const { session } = member;
    session.finish(failureCode(failure), failureError(failure, this.#config, session.record.origin));
    this.#freeSlot(member);
  }

  #freeSlot(member: ActiveSession): void {
    this.ctx.waitUntil(this.#slots.free(member).then(() => this.#rearm()));
  }

  #ended(session: Session): void {
    const after = () => ({
      current: this.#present?.session,
      ttlMs: this.#config.sessionTtlMs,
      holdsSlot: this.#slots.holds(session),
    });
    this.ctx.waitUntil(this.#reports.concluded(session, after));
  }

  /** The alarm for what is there; of an object that holds nothing, nothing is left, and it ceases to exist. */
  async #rearm(): Promise<void> {
    const { current } = this.#pair;
    const now = Date.now();
    const times = current ? [nextAlarm(current.state, now, this.#config.sessionTtlMs)] : [];
    if (!this.#slots.isDone) times.push(now + this.#slots.retryMs);
    if (times.length > 0) await this.ctx.storage.setAlarm(Math.min(...times));
    else await this.ctx.storage.deleteAll();
  }

  #accepted(session: Session): void {
    this.ctx.waitUntil(this.#reports.accepted(session, Date.now()));
    const member = this.#pair.memberOf(session);
    if (member) this.#pair.change({ type: "accepted", member });
    this.ctx.waitUntil(this.#slots.freeAbandoned(session));
  }

  #restore(): void {
    const stored = this.#sessions.restore();
    if (stored instanceof StorageVersionError) {
      this.#unreadable = stored;
      return;
    }
    const [current, previous] = stored;
    if (!current) return;
    this.#pair.restore(current, previous);
    if (current.session.isLive) this.ctx.waitUntil(this.#run(current, "restart"));
    else this.ctx.waitUntil(this.#ensureAlarm());
    // One that a gateway without an index began is named now.
    if (this.#sessions.predatesIndex) this.ctx.waitUntil(this.#reports.renewed(current.session));
  }

  /** An alarm that the platform gave up on, or lost, would leave the rows for ever. */
  async #ensureAlarm(): Promise<void> {
    if ((await this.ctx.storage.getAlarm()) === null) await this.#rearm();
  }
}
