/** A session on a storage, as its object holds one, and clients that read it. */
import type { Clock } from "../../../src/clock.ts";
import { ReplayLog } from "../../../src/conversation/log/replay-log.ts";
import type { Slot } from "../../../src/conversation/log/row-keys.ts";
import { Records } from "../../../src/conversation/records.ts";
import { readFrom } from "../../../src/conversation/session/reader.ts";
import { Session } from "../../../src/conversation/session/session.ts";
import { decodeRecord, encodeRecord, type SessionRecord } from "../../../src/conversation/session/session-record.ts";
import { concat } from "./bytes.ts";
import { NodeStorage } from "./node-storage.ts";
import { recordOf } from "./records.ts";

const SLOT: Slot = 0;
export const RETAINED_BYTES = 1_000_000;

/** A disk that never makes anybody wait. */
export class InstantStorage extends NodeStorage {
  override sync(): Promise<void> {
    this.commit();
    return Promise.resolve();
  }
}

/** A session, and what its owner heard of it. */
export interface Held {
  readonly session: Session;
  readonly heard: string[];
  readonly errors: unknown[];
}

export function beginSession(
  storage: NodeStorage,
  clock: Clock,
  fields: Partial<SessionRecord> = {},
  request = "{}",
): Held {
  const records = new Records(storage.sql);
  records.create();
  const record = recordOf({ startedAt: clock.now(), ...fields });
  const log = ReplayLog.create(storage, SLOT, RETAINED_BYTES);
  const body = new TextEncoder().encode(request);
  records.add(SLOT, encodeRecord(record), body);
  return hold(storage, clock, record, log, body);
}

/** As a new object finds it; `undefined` if it finds none. */
export function restoreSession(storage: NodeStorage, clock: Clock): Held | undefined {
  const records = new Records(storage.sql);
  const stored = records.exists ? records.sessions() : [];
  if (stored instanceof Error) throw stored;
  const [first] = stored;
  if (!first) return undefined;
  const record = decodeRecord(first.record, first.version, "default");
  const log = ReplayLog.restore(storage, SLOT, RETAINED_BYTES);
  return hold(storage, clock, record, log, records.holds(SLOT));
}

function hold(
  storage: NodeStorage,
  clock: Clock,
  record: SessionRecord,
  log: ReplayLog,
  request: Uint8Array | boolean,
): Held {
  const records = new Records(storage.sql);
  const heard: string[] = [];
  const errors: unknown[] = [];
  const host = {
    save: (saved: SessionRecord, kept: "keep" | "forget") => {
      if (kept === "keep") records.save(SLOT, encodeRecord(saved));
      else records.saveWithoutRequest(SLOT, encodeRecord(saved));
    },
    storedRequest: () => records.request(SLOT),
    onAccepted: () => void heard.push("accepted"),
    onEnd: () => void heard.push("end"),
    onError: (_: Session, error: unknown) => void errors.push(error),
  };
  return { session: new Session(record, log, host, clock, request), heard, errors };
}

/** A client that takes bytes as they come. */
export class Client {
  /** `open`: more may come. `broken`: the connection was cut. */
  state: "open" | "ended" | "broken" = "open";
  readonly from: number;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #pieces: Uint8Array[] = [];

  constructor(session: Session, from = 0) {
    this.from = from;
    this.#reader = readFrom(session, from).getReader();
    void this.#readOn();
  }

  get bytes(): Uint8Array {
    return concat(this.#pieces);
  }

  get text(): string {
    return new TextDecoder().decode(this.bytes);
  }

  async leave(): Promise<void> {
    // A connection that was cut before is as good as left.
    await this.#reader.cancel().catch(() => {});
  }

  async #readOn(): Promise<void> {
    try {
      for (;;) {
        const { done, value } = await this.#reader.read();
        if (value) this.#pieces.push(value.slice());
        if (done) break;
      }
      this.state = "ended";
    } catch {
      this.state = "broken";
    }
  }
}

/** All that is in the log, seen or not. */
export function logText({ log }: Session): string {
  return new TextDecoder().decode(log.peek(log.start, log.end - log.start));
}
