/**
 * The Durable Object of one tenant, named after it: the door. Never in the way of an answer's bytes; the conversations'
 * objects stay the truth, and are asked where they have been silent for too long. Only this class holds `ctx`; what it
 * knows and decides is in ledger.ts.
 */
import { DurableObject } from "cloudflare:workers";
import { configOf } from "../config.ts";
import { storageOf } from "../storage/object-storage.ts";
import { Ledger } from "./ledger.ts";
import type {
  AdmitAnswer,
  AdmitRequest,
  EndedSession,
  Hold,
  IndexAnswer,
  KeyAnswer,
  LiveSession,
  NewKey,
  OrderAnswer,
  SessionUsage,
  Standing,
  StruckSession,
  TenantEntry,
  UsageRow,
} from "./messages.ts";
import { addKey, entryOf, removeKey, setLimits } from "./orders.ts";
import { type LiveList, liveList, type OriginShare, originShares } from "./overview.ts";

/** How long a conversation may take to say how it stands; one that does not answer keeps its slot. */
const STANDING_MS = 2_000;
/** Conversations asked at a time. */
const CONCURRENCY = 16;

export class Tenant extends DurableObject<Env> {
  #ledger: Ledger;
  /** When the alarm is set for, as far as known; not restored. */
  #alarmAt: number | undefined;
  /** The conversations are being asked: whoever comes meanwhile waits for the same answers. */
  #settling: Promise<void> | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#ledger = this.#open();
  }

  // What the Worker asks

  /** Before a generating request; see messages.ts. */
  async admit(request: AdmitRequest): Promise<AdmitAnswer> {
    if (this.#ledger.needsTruth(request)) await this.#settle();
    const answer = this.#ledger.admit(request);
    await this.#arm();
    return answer;
  }

  /** The slot is still held: by a request on its way, or a strict answer. */
  async hold(hold: Hold): Promise<void> {
    this.#ledger.hold(hold);
    await this.#arm();
  }

  /** The slot of this ticket or session is free. */
  released(holder: string): void {
    this.#ledger.release(holder);
  }

  async counted(usage: SessionUsage): Promise<void> {
    this.#ledger.counted(usage);
    await this.#arm();
  }

  keyOf(hash: string): KeyAnswer {
    return this.#ledger.keyOf(hash);
  }

  knows(conversation: string): boolean {
    return this.#ledger.knows(conversation);
  }

  lookup(conversations: readonly string[]): IndexAnswer {
    return this.#ledger.lookup(conversations);
  }

  // What a conversation says

  async renewed(session: LiveSession): Promise<void> {
    this.#ledger.renewed(session);
    await this.#arm();
  }

  async ended(session: EndedSession): Promise<void> {
    this.#ledger.ended(session);
    await this.#arm();
  }

  struck(session: StruckSession): void {
    this.#ledger.struck(session);
  }

  // What the owner asks and orders

  entry(): TenantEntry {
    return entryOf(this.#ledger);
  }

  async addKey(key: NewKey): Promise<OrderAnswer> {
    const answer = addKey(this.#ledger, key);
    await this.#arm();
    return answer;
  }

  setLimits(changes: object, key: string | undefined): OrderAnswer {
    return setLimits(this.#ledger, changes, key);
  }

  removeKey(name: string): OrderAnswer {
    return removeKey(this.#ledger, name);
  }

  usage(firstDay: number, endDay: number): UsageRow[] {
    return this.#ledger.usage?.read(firstDay, endDay) ?? [];
  }

  /** At most so many of the live sessions. */
  sessions(most: number): LiveList {
    return liveList(this.#ledger, most);
  }

  /** By the origin's name; `today` in days since 1970, UTC. */
  origins(today: number): Map<string, OriginShare> {
    return originShares(this.#ledger, today);
  }

  /** Deletes what is over, asks about what was silent for too long, and comes back when the next thing is due. */
  override async alarm(): Promise<void> {
    this.#alarmAt = undefined;
    await this.#settle();
    this.#ledger.sweep();
    if (this.#ledger.isEmpty) await this.#vanish();
    else await this.#arm();
  }

  /** No rows, no alarm: the object ceases to exist. Whoever comes next finds an empty ledger, without tables. */
  async #vanish(): Promise<void> {
    const deleted = this.ctx.storage.deleteAll();
    this.#ledger = this.#open();
    await deleted;
  }

  /** Asks each conversation that should be live and has been silent. */
  #settle(): Promise<void> {
    this.#settling ??= this.#askStale().finally(() => {
      this.#settling = undefined;
    });
    return this.#settling;
  }

  async #askStale(): Promise<void> {
    const stale = this.#ledger.stale().values();
    const ask = async () => {
      for (const { conversation, session } of stale) {
        const standing = await this.#standing(conversation);
        if (standing) this.#ledger.settle(conversation, session, standing);
      }
    };
    // All of them take from one iterator.
    await Promise.all(Array.from({ length: CONCURRENCY }, ask));
  }

  async #standing(conversation: string): Promise<Standing | undefined> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), STANDING_MS);
    });
    try {
      const stub = this.env.CONVERSATION.getByName(`${this.#ledger.tenant}/${conversation}`);
      return await Promise.race([stub.standing(), late]);
    } catch (error) {
      // It is being replaced, or broken: the row stays, and the next sweep asks again.
      console.error(error);
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sets the alarm, unless one comes early enough: an alarm that is set anew is a row written. */
  async #arm(): Promise<void> {
    const due = this.#ledger.nextSweep();
    if (due === undefined) return;
    this.#alarmAt ??= (await this.ctx.storage.getAlarm()) ?? undefined;
    if (this.#alarmAt !== undefined && this.#alarmAt <= due) return;
    this.#alarmAt = due;
    await this.ctx.storage.setAlarm(due);
  }

  #open(): Ledger {
    const { name } = this.ctx.id;
    if (name === undefined) throw new Error("A tenant's object is found by the tenant's name");
    return new Ledger({
      sql: storageOf(this.ctx.storage).sql,
      now: () => Date.now(),
      tenant: name,
      defaultBytes: configOf(this.env).tenantStoredBytes,
    });
  }
}
