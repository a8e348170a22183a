/** The sessions of one conversation as they are stored: makes one of a request, restores them, deletes them. */
import type { Clock } from "../clock.ts";
import type { LogStorage } from "../storage/sql.ts";
import { ActiveSession } from "./active-session.ts";
import { ReplayLog } from "./log/replay-log.ts";
import type { Slot } from "./log/row-keys.ts";
import type { StartRequest } from "./messages.ts";
import { Producer } from "./producer/producer.ts";
import { type Origins, Route } from "./producer/route.ts";
import type { ProducerLimits } from "./producer/watchdog.ts";
import { Records, StorageVersionError } from "./records.ts";
import { Session, type SessionHost } from "./session/session.ts";
import { decodeRecord, encodeRecord, type Replaced, type SessionRecord } from "./session/session-record.ts";

/** The gateway's origins, as a conversation sees them. */
export interface SessionOrigins extends Origins {
  /** The origin of the sessions that were stored before origins had names. */
  readonly firstName: string;
}

/** What its owner hears from the sessions; see SessionHost. */
export type SessionEvents = Pick<SessionHost, "onAccepted" | "onEnd" | "onError">;

/** The first version (see records.ts) whose gateways tell the tenant's object of their sessions. */
const INDEXED_VERSION = 2;

export class SessionStore {
  readonly #name: string;
  readonly #storage: LogStorage;
  readonly #records: Records;
  readonly #origins: SessionOrigins;
  readonly #limits: ProducerLimits;
  readonly #clock: Clock;
  readonly #events: SessionEvents;

  #predatesIndex = false;

  /** `name`: the conversation's, in the whole gateway. */
  constructor(
    name: string,
    storage: LogStorage,
    origins: SessionOrigins,
    limits: ProducerLimits,
    clock: Clock,
    events: SessionEvents,
  ) {
    this.#name = name;
    this.#storage = storage;
    this.#records = new Records(storage.sql);
    this.#origins = origins;
    this.#limits = limits;
    this.#clock = clock;
    this.#events = events;
  }

  /** A new session, stored with its request. `last`: the session before it. Throws when it cannot be stored. */
  create(
    start: StartRequest,
    body: Uint8Array,
    slot: Slot,
    last: SessionRecord | undefined,
    replaced: readonly Replaced[],
  ): ActiveSession {
    const { id, path, family, wantsStream, idempotencyKey, bodyHash, key, model } = start;
    const question = { model, key: this.#name, last: last?.origin };
    const record: SessionRecord = {
      session: crypto.randomUUID(),
      originId: crypto.randomUUID(),
      // Where all is known, the choice costs neither a wait nor a further write.
      origin: this.#origins.isKnown ? this.#origins.rank(question)[0] : undefined,
      refusedBy: [],
      abandoned: [],
      brokenRequests: 0,
      ...{ id, path, family, wantsStream, idempotencyKey, bodyHash, key, model },
      startedAt: this.#clock.now(),
      reattached: 0,
      replaced,
      state: { phase: "asking" },
    };
    this.#records.create();
    const log = ReplayLog.create(this.#storage, slot, this.#limits.retainedBytes);
    this.#records.add(slot, encodeRecord(record), body);
    return this.#activate(record, log, slot, body, last?.origin);
  }

  /** What is stored, the current session first; or why it cannot be read. */
  restore(): ActiveSession[] | StorageVersionError {
    if (!this.#records.exists) return [];
    const stored = this.#records.sessions();
    if (stored instanceof StorageVersionError) return stored;
    this.#predatesIndex = stored.some(({ version }) => version < INDEXED_VERSION);
    const members = stored.map(({ slot, version, record }) => {
      const log = ReplayLog.restore(this.#storage, slot, this.#limits.retainedBytes);
      return this.#activate(
        decodeRecord(record, version, this.#origins.firstName),
        log,
        slot,
        this.#records.holds(slot),
      );
    });
    // Only the current one can be live; a clock that stepped back does not make it the older one.
    return members.sort((a, b) => Number(b.session.isLive) - Number(a.session.isLive) || startOf(b) - startOf(a));
  }

  /** A gateway stored the sessions that told no tenant's object of them. */
  get predatesIndex(): boolean {
    return this.#predatesIndex;
  }

  /** Its record, its request and its log. Readers still get what is in memory. */
  delete({ session, slot }: ActiveSession): void {
    session.log.delete();
    this.#records.delete(slot);
  }

  /** What `restore` could not read. */
  deleteUnreadable(): void {
    for (const slot of [0, 1] as const) {
      ReplayLog.create(this.#storage, slot, this.#limits.retainedBytes);
      this.#records.delete(slot);
    }
  }

  #activate(
    record: SessionRecord,
    log: ReplayLog,
    slot: Slot,
    request: Uint8Array | boolean,
    lastOrigin?: string,
  ): ActiveSession {
    const session = new Session(record, log, this.#host(slot), this.#clock, request);
    const route = new Route(session, this.#origins, this.#name, lastOrigin);
    const producer = new Producer(session, route, this.#limits, this.#clock, () => crypto.randomUUID());
    return new ActiveSession(session, slot, producer);
  }

  #host(slot: Slot): SessionHost {
    return {
      ...this.#events,
      save: (record, request) => {
        if (request === "keep") this.#records.save(slot, encodeRecord(record));
        else this.#records.saveWithoutRequest(slot, encodeRecord(record));
      },
      storedRequest: () => this.#records.request(slot),
    };
  }
}

function startOf({ session }: ActiveSession): number {
  return session.record.startedAt;
}
