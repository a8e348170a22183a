/** The sessions of one conversation as they are stored: makes one of a request, restores them, deletes them. */

import type { Clock } from "../clock.ts";
import type { OriginCalls } from "../origin/origin.ts";
import { ActiveSession } from "./active-session.ts";
import type { Slot } from "./log/keys.ts";
import { ReplayLog } from "./log/replay-log.ts";
import type { LogStorage } from "./log/sql.ts";
import type { StartRequest } from "./messages.ts";
import { Producer } from "./producer/producer.ts";
import type { ProducerLimits } from "./producer/watchdog.ts";
import { Records, StorageVersionError } from "./records.ts";
import { Session, type SessionHost } from "./session/session.ts";
import { decodeRecord, encodeRecord, type Replaced, type SessionRecord } from "./session/session-record.ts";

/** What its owner hears from the sessions; see SessionHost. */
export type SessionEvents = Pick<SessionHost, "onAccepted" | "onEnd" | "onError">;

export class SessionStore {
  readonly #storage: LogStorage;
  readonly #records: Records;
  readonly #origin: OriginCalls;
  readonly #limits: ProducerLimits;
  readonly #clock: Clock;
  readonly #events: SessionEvents;

  constructor(storage: LogStorage, origin: OriginCalls, limits: ProducerLimits, clock: Clock, events: SessionEvents) {
    this.#storage = storage;
    this.#records = new Records(storage.sql);
    this.#origin = origin;
    this.#limits = limits;
    this.#clock = clock;
    this.#events = events;
  }

  /** A new session, stored with its request. Throws when it cannot be stored. */
  create(start: StartRequest, body: Uint8Array, slot: Slot, replaced: readonly Replaced[]): ActiveSession {
    const record: SessionRecord = {
      session: crypto.randomUUID(),
      originId: crypto.randomUUID(),
      abandonedIds: [],
      brokenRequests: 0,
      id: start.id,
      path: start.path,
      family: start.family,
      wantsStream: start.wantsStream,
      idempotencyKey: start.idempotencyKey,
      bodyHash: start.bodyHash,
      key: start.key,
      model: start.model,
      startedAt: this.#clock.now(),
      reattached: 0,
      replaced,
      state: { phase: "asking" },
    };
    this.#records.create();
    const log = ReplayLog.create(this.#storage, slot, this.#limits.retainedBytes);
    this.#records.add(slot, encodeRecord(record), body);
    return this.#activate(record, log, slot, body);
  }

  /** What is stored, the current session first; or why it cannot be read. */
  restore(): ActiveSession[] | StorageVersionError {
    if (!this.#records.exists) return [];
    const stored = this.#records.sessions();
    if (stored instanceof StorageVersionError) return stored;
    const members = stored.map(({ slot, version, record }) => {
      const log = ReplayLog.restore(this.#storage, slot, this.#limits.retainedBytes);
      return this.#activate(decodeRecord(record, version), log, slot, this.#records.holds(slot));
    });
    // Only the current one can be live; a clock that stepped back does not make it the older one.
    return members.sort((a, b) => Number(b.session.isLive) - Number(a.session.isLive) || startOf(b) - startOf(a));
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

  #activate(record: SessionRecord, log: ReplayLog, slot: Slot, request: Uint8Array | boolean): ActiveSession {
    const session = new Session(record, log, this.#host(slot), this.#clock, request);
    const producer = new Producer(session, this.#origin, this.#limits, this.#clock, () => crypto.randomUUID());
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
