/**
 * Whoever reads a session, or waits for it to change.
 *
 * Joining is for clients that are being fed: while one is present the producer hands on at once what comes. Waiting is for
 * one change: waiters are called once, and wait again if they want more.
 */
import type { Clock } from "../../clock.ts";

/**
 * Readers are woken at most this often: what comes faster is handed on in larger pieces, each of which costs a crossing
 * between JavaScript and the runtime's streams. A model of up to 200 tokens per second is not slowed down at all.
 */
const WAKE_INTERVAL_MS = 5;
/**
 * The same per waiting reader, when there are many: a piece for one of them costs some 50 µs, so all of them together get
 * about a tenth of the thread that the object shares with its neighbours. 100 readers see an answer move 20 times a second.
 */
const WAKE_INTERVAL_PER_READER_MS = 0.5;
/** However many they are. */
const MAX_WAKE_INTERVAL_MS = 250;

export class Audience {
  readonly #clock: Clock;
  #readers = 0;
  #waiters: (() => void)[] = [];
  /** Aborted while a reader is present. */
  #arrival = new AbortController();
  readonly #onPresence: (isPresent: boolean) => void;
  #cancelWake: (() => void) | undefined;
  #lastWake = 0;

  /** `onPresence` is called when the first reader joins and when the last one leaves. */
  constructor(clock: Clock, onPresence: (isPresent: boolean) => void) {
    this.#clock = clock;
    this.#onPresence = onPresence;
  }

  /** A client is being fed from now on. The returned function leaves; calling it again does nothing. */
  join(): () => void {
    this.#readers += 1;
    if (this.#readers === 1) {
      this.#arrival.abort();
      this.#onPresence(true);
    }
    let isPresent = true;
    return () => {
      if (isPresent) this.#leave();
      isPresent = false;
    };
  }

  get isPresent(): boolean {
    return this.#readers > 0;
  }

  /** Aborts when a reader joins; aborted while one is present. Asking `isPresent` costs less. */
  get arrival(): AbortSignal {
    return this.#arrival.signal;
  }

  /** Calls `waiter`, once, after the next change. */
  onChange(waiter: () => void): void {
    this.#waiters.push(waiter);
  }

  /** Resolves after the next change. */
  changed(): Promise<void> {
    return new Promise((resolve) => this.onChange(resolve));
  }

  /** The session grew at `now`: wakes the waiters, but not more often than the intervals above. */
  notify(now: number): void {
    if (this.#waiters.length === 0 || this.#cancelWake) return;
    const interval = Math.max(WAKE_INTERVAL_MS, this.#waiters.length * WAKE_INTERVAL_PER_READER_MS);
    const rest = Math.min(interval, MAX_WAKE_INTERVAL_MS) - (now - this.#lastWake);
    if (rest <= 0) this.#wake(now);
    else this.#cancelWake = this.#clock.after(rest, () => this.#wake(this.#clock.now()));
  }

  /** Wakes the waiters at once: an ending, or bytes that became visible. */
  notifyNow(): void {
    this.#wake(this.#clock.now());
  }

  #wake(now: number): void {
    this.#cancelWake?.();
    this.#cancelWake = undefined;
    this.#lastWake = now;
    const waiters = this.#waiters;
    if (waiters.length === 0) return;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }

  #leave(): void {
    this.#readers -= 1;
    if (this.#readers > 0) return;
    this.#arrival = new AbortController();
    this.#onPresence(false);
  }
}
