/** Asks the watchdog every few seconds, and does what it says. */
import type { Clock } from "../../clock.ts";
import type { OriginCalls } from "../../origin/origin.ts";
import type { Session } from "../session/session.ts";
import type { Connection } from "./connection.ts";
import type { ConnectionReader } from "./connection-reader.ts";
import { type ProducerLimits, watch, watchIntervalMs } from "./watchdog.ts";

export interface WatcherEvents {
  /** Whether the origin has answered the request. */
  isAnswered(): boolean;
  giveUp(end: "origin_timeout" | "too_long"): void;
}

export class Watcher {
  readonly #session: Session;
  readonly #reader: ConnectionReader;
  readonly #connection: Connection;
  readonly #origin: Pick<OriginCalls, "find">;
  readonly #limits: ProducerLimits;
  readonly #clock: Clock;
  readonly #events: WatcherEvents;
  /** Unix milliseconds. */
  #probedAt = 0;
  /** Bytes, as of the last look. */
  #received = 0;
  #cancel: (() => void) | undefined;

  constructor(
    session: Session,
    reader: ConnectionReader,
    connection: Connection,
    origin: Pick<OriginCalls, "find">,
    limits: ProducerLimits,
    clock: Clock,
    events: WatcherEvents,
  ) {
    this.#session = session;
    this.#reader = reader;
    this.#connection = connection;
    this.#origin = origin;
    this.#limits = limits;
    this.#clock = clock;
    this.#events = events;
  }

  start(): void {
    this.#cancel = this.#clock.after(watchIntervalMs(this.#limits), () => {
      this.start();
      this.#check();
    });
  }

  stop(): void {
    this.#cancel?.();
  }

  #check(): void {
    if (!this.#session.isLive) return;
    const now = this.#clock.now();
    if (this.#reader.received > this.#received) this.#connection.heardAt = now;
    this.#received = this.#reader.received;
    const contact = {
      startedAt: this.#session.record.startedAt,
      isConnected: this.#connection.isOpen,
      heardAt: this.#connection.heardAt,
      probedAt: this.#probedAt,
      isComplete: this.#reader.isComplete,
    };
    const verdict = watch(now, contact, this.#limits);
    switch (verdict) {
      case "wait":
        break;
      case "close":
        this.#connection.cut();
        break;
      case "origin_timeout":
      case "too_long":
        this.#events.giveUp(verdict);
        break;
      case "probe":
        this.#probedAt = now;
        this.#probe().catch((error: unknown) => console.error(error));
    }
  }

  /** Silence may be a prompt being processed, or a connection that died without a word: the origin knows which. */
  async #probe(): Promise<void> {
    const { id } = this.#connection;
    const found = await this.#origin.find(this.#session.record.originId);
    if (!this.#session.isLive || id !== this.#connection.id) return;
    if (!this.#events.isAnswered()) {
      // Waiting for a slot, or for its model, llama-server says nothing at all, for as long as it takes.
      if (found.state === "known") this.#connection.heardAt = this.#clock.now();
    } else if (found.state === "unknown" || (found.state === "known" && found.totalBytes > this.#reader.originBytes)) {
      this.#connection.cut();
    }
  }
}
