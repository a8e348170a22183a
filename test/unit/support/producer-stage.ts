/** A session with its producer, between a scripted origin and clients, on simulated time. */

import type { Verdict } from "../../../src/conversation/producer/phase.ts";
import { Producer } from "../../../src/conversation/producer/producer.ts";
import { Route } from "../../../src/conversation/producer/route.ts";
import type { ProducerLimits } from "../../../src/conversation/producer/watchdog.ts";
import type { Session } from "../../../src/conversation/session/session.ts";
import type { SessionRecord } from "../../../src/conversation/session/session-record.ts";
import { ScriptedOrigin } from "./scripted-origin.ts";
import { ScriptedOrigins } from "./scripted-origins.ts";
import { beginSession, Client, InstantStorage, logText, RETAINED_BYTES, restoreSession } from "./session-bench.ts";
import { SimulatedClock, settle } from "./simulated-clock.ts";

const LIMITS: ProducerLimits = {
  reconnectMs: 60_000,
  originIdleMs: 120_000,
  maxGenerationMs: 3_600_000,
  retainedBytes: RETAINED_BYTES,
};

export interface StageOptions {
  record?: Partial<SessionRecord>;
  limits?: Partial<ProducerLimits>;
  /** Left out: one, the stage's own. */
  origins?: ScriptedOrigins;
}

export class ProducerStage {
  readonly origin = new ScriptedOrigin();
  readonly #origins: ScriptedOrigins;
  readonly #storage = new InstantStorage();
  readonly #limits: ProducerLimits;
  #clock = new SimulatedClock();
  #session: Session;
  #producer: Producer;
  #verdict: Verdict | undefined;
  #error: unknown;
  #ids = 1;

  constructor({ record = {}, limits = {}, origins }: StageOptions = {}) {
    this.#origins = origins ?? new ScriptedOrigins({ default: this.origin });
    this.#limits = { ...LIMITS, ...limits };
    this.#session = beginSession(this.#storage, this.#clock, record, '{"prompt":1}').session;
    this.#storage.commit();
    this.#producer = this.#newProducer();
  }

  /** The request goes out; what is scripted and takes no time happens. */
  async begin(): Promise<void> {
    await this.#run("start");
  }

  /** The object dies and comes back: what was only in memory is gone. */
  async restart(): Promise<void> {
    this.#storage.commit();
    this.#storage.crash();
    this.#clock = new SimulatedClock(this.#clock.now());
    const restored = restoreSession(this.#storage, this.#clock);
    if (!restored) throw new Error("No session was stored");
    this.#session = restored.session;
    this.#producer = this.#newProducer();
    await this.#run("restart");
  }

  get session(): Session {
    return this.#session;
  }

  get producer(): Producer {
    return this.#producer;
  }

  /** "done", "origin_lost" …, "refused 400", "ended_elsewhere"; `undefined` while it runs. */
  get outcome(): string | undefined {
    if (this.#error !== undefined) throw this.#error;
    const verdict = this.#verdict;
    if (!verdict) return undefined;
    if (verdict.is === "ended") return verdict.end;
    return verdict.is === "refused" ? `refused ${verdict.failure.status}` : verdict.is;
  }

  get text(): string {
    return logText(this.#session);
  }

  /** The origin's part of the text. */
  get answerText(): string {
    return this.text.replace(/(?<=^|\n\n):\n\n/g, "");
  }

  /** All that came so far survives a restart. */
  flush(): void {
    this.#session.log.flush();
  }

  /** A client that reads from the first byte. */
  read(): Client {
    return new Client(this.#session);
  }

  async advance(ms: number): Promise<void> {
    await this.#clock.advance(ms);
  }

  /** Until it is over. Fails when that takes more than `maxMs`. Returns how long it took, in steps of 100 ms. */
  async untilOver(maxMs: number): Promise<number> {
    for (let ms = 0; ms <= maxMs; ms += 100) {
      if (this.outcome !== undefined) return ms;
      await this.#clock.advance(100);
    }
    throw new Error(`It is not over after ${maxMs} ms; the origin was asked: ${this.origin.asked.join(", ")}`);
  }

  get timers(): number {
    return this.#clock.timers;
  }

  async #run(from: "start" | "restart"): Promise<void> {
    this.#verdict = undefined;
    const producer = this.#producer;
    producer.run(from).then(
      (verdict) => {
        if (producer === this.#producer) this.#verdict = verdict;
      },
      (error: unknown) => {
        this.#error = error;
      },
    );
    await settle();
  }

  get #route(): Route {
    return new Route(this.#session, this.#origins, "alice/c1", undefined);
  }

  #newProducer(): Producer {
    return new Producer(this.#session, this.#route, this.#limits, this.#clock, () => `id ${++this.#ids}`);
  }
}
