/**
 * The producer's connection to its origin: at most one at a time, under one plain signal (AbortSignal.any would cost every
 * event of an answer).
 */
import { type Clock, pause } from "../../clock.ts";

export class Connection {
  readonly #clock: Clock;
  #current = new AbortController();
  readonly #over = new AbortController();
  /** A request or its answer is under way: silence is then the origin's, not the network's. */
  isOpen = false;
  /** When the origin last sent something, or a connection was begun, Unix milliseconds. */
  heardAt: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.heardAt = clock.now();
  }

  /** Tells one connection from the next. */
  get id(): AbortSignal {
    return this.#current.signal;
  }

  /** Makes a request; `cut` and `leave` abort it, and the body of its answer. */
  async open<T>(request: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.#current = new AbortController();
    if (this.#over.signal.aborted) this.#current.abort();
    this.isOpen = true;
    this.heardAt = this.#clock.now();
    try {
      return await request(this.#current.signal);
    } finally {
      this.isOpen = false;
    }
  }

  /** Ends the current connection, to get another one. */
  cut(): void {
    this.#current.abort();
  }

  /** Nothing of the origin is wanted any more. Ends every pause too. */
  leave(): void {
    this.#over.abort();
    this.#current.abort();
  }

  pause(ms: number): Promise<void> {
    return pause(this.#clock, ms, this.#over.signal);
  }
}
