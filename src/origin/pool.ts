/**
 * The gateway's origins: which one a request goes to, and all of them as one. One pool for each configuration and isolate,
 * so that what one request learns of an origin serves the others.
 */
import { type Clock, pause, systemClock } from "../clock.ts";
import { type Question, rank } from "./choose.ts";
import { type ModelList, mergeModels, type Row } from "./models.ts";
import { type OriginConfig, SINGLE_ORIGIN } from "./origins-config.ts";
import { PooledOrigin, QUESTION_TIMEOUT_MS } from "./pooled-origin.ts";

/** When a request first looks whether another one has the list that both wait for; then after twice as long, and so on. */
const FIRST_LOOK_MS = 20;
/** A thousand requests that look more often than that keep the isolate from reading the list. */
const LONGEST_LOOK_MS = 160;
/** By then the request that asks is over, unless its client has left. */
const LONGEST_WAIT_MS = 2 * QUESTION_TIMEOUT_MS;

const pools = new WeakMap<readonly OriginConfig[], OriginPool>();

export function poolOf(origins: readonly OriginConfig[]): OriginPool {
  let pool = pools.get(origins);
  if (!pool) {
    pool = new OriginPool(origins, systemClock);
    pools.set(origins, pool);
  }
  return pool;
}

export class OriginPool {
  readonly #origins: ReadonlyMap<string, PooledOrigin>;
  readonly #clock: Clock;

  constructor(origins: readonly OriginConfig[], clock: Clock) {
    this.#clock = clock;
    this.#origins = new Map(origins.map((config) => [config.name, new PooledOrigin(config, clock)]));
  }

  get names(): readonly string[] {
    return [...this.#origins.keys()];
  }

  /** Whether anything of a request decides where it goes. */
  get isChoice(): boolean {
    return this.#origins.size > 1 || Array.from(this.#origins.values()).some(({ config }) => config.models.length > 0);
  }

  /** The origin of sessions that were stored before origins had names. */
  get firstName(): string {
    return this.#origins.has(SINGLE_ORIGIN) ? SINGLE_ORIGIN : (this.names[0] ?? SINGLE_ORIGIN);
  }

  /** `undefined`: it is not in the configuration, or not any more. */
  get(name: string): PooledOrigin | undefined {
    return this.#origins.get(name);
  }

  /** The origins to try, in this order, as far as is known now; see `learn`. */
  rank(question: Question): string[] {
    return rank(
      Array.from(this.#origins.values(), ({ candidate }) => candidate),
      question,
    );
  }

  /** Whether `rank` knows all it can. Of one origin there is nothing to know: the request tells. */
  get isKnown(): boolean {
    return this.#origins.size === 1 || Array.from(this.#origins.values()).every(({ isKnown }) => isKnown);
  }

  /** Asks the origins what is not known of them, or not any more, and waits where another request asks for a first list. */
  async learn(): Promise<void> {
    if (this.#origins.size === 1) return;
    const origins = Array.from(this.#origins.values());
    await Promise.all(origins.map((origin) => origin.learn()));
    await this.#firstLists(origins);
  }

  /** Waits for the lists that other requests ask for; as those do, by the time that its own timers took. */
  async #firstLists(origins: readonly PooledOrigin[]): Promise<void> {
    const never = new AbortController().signal;
    let waitedMs = 0;
    for (let ms = FIRST_LOOK_MS; origins.some(({ isAwaited }) => isAwaited); ms = Math.min(2 * ms, LONGEST_LOOK_MS)) {
      if (waitedMs > LONGEST_WAIT_MS) {
        for (const origin of origins) origin.forgetAsking();
        return;
      }
      await pause(this.#clock, ms, never);
      waitedMs += ms;
    }
  }

  /** What all origins have, without those that do not answer; `undefined` if none does. */
  async models(): Promise<Row | undefined> {
    const asked = await Promise.all(
      Array.from(this.#origins, async ([name, origin]) => [name, await origin.askModels()] as const),
    );
    const lists = new Map<string, ModelList>();
    for (const [name, list] of asked) if (list) lists.set(name, list);
    return lists.size > 0 ? mergeModels(lists) : undefined;
  }
}
