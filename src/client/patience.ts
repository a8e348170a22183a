/**
 * All the waiting of one stream: for a promise, or for the next try. Every wait ends early by a wake, or by the end of the
 * stream, and leaves no timer and no listener behind. One wait at a time.
 */
import { HoldfastError } from "./holdfast-error.ts";
import type { Wakers } from "./wakers.ts";

/** The pauses between tries: doubled each time from the first to the longest, half of it left to chance. */
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 15_000;

/** What came first: the promise, its time, a wake, or the end of the stream. */
export type First<Value> = Value | "late" | "woken" | "over";

/** One try; `abort` ends its request. */
export type Try<Value> = (signal: AbortSignal, abort: AbortController) => Promise<Value>;

export type OnWaiting = (retryInMs: number, cause: unknown) => void;

export class Patience {
  /** How long all pauses together may be, since the last success. */
  giveUpAfterMs: number;
  /** Called before each pause. */
  onWaiting: OnWaiting | undefined;
  isOver = false;
  readonly #wakers: Wakers;
  readonly #stallMs: number;
  #interrupt: ((by: "woken" | "over") => void) | undefined;
  #signal: AbortSignal | null | undefined;
  #leave = (): void => {};
  #pauses = 0;
  #pausedMs = 0;

  /** `stallMs` is how long it waits for a promise, unless told otherwise. */
  constructor(wakers: Wakers, stallMs: number, giveUpAfterMs: number) {
    this.#wakers = wakers;
    this.#stallMs = stallMs;
    this.giveUpAfterMs = giveUpAfterMs;
  }

  /** From now on calls `leave`, which is to `end()` this, when the app's signal says so. */
  heed(signal: AbortSignal | null | undefined, leave: () => void): void {
    this.#signal = signal;
    this.#leave = leave;
    if (signal?.aborted) leave();
    else signal?.addEventListener("abort", leave);
  }

  /** No wait begins or goes on after this. */
  end(): void {
    this.isOver = true;
    this.#signal?.removeEventListener("abort", this.#leave);
    this.#interrupt?.("over");
  }

  /** What is waited for has changed. */
  wake(): void {
    this.#interrupt?.("woken");
  }

  /** The connection has proved itself: the next trouble starts with a short pause again. */
  succeed(): void {
    this.#pauses = 0;
    this.#pausedMs = 0;
  }

  /** A promise that was overtaken may settle when it will: nobody is told. */
  async first<Value>(promise: Promise<Value>, ms = this.#stallMs): Promise<First<Value>> {
    if (this.isOver) return "over";
    let forget = () => {};
    const interrupted = new Promise<"late" | "woken" | "over">((resolve) => {
      const timer = setTimeout(resolve, ms, "late");
      const ignoreWakes = this.#wakers.on(() => resolve("woken"));
      this.#interrupt = resolve;
      forget = () => {
        clearTimeout(timer);
        ignoreWakes();
      };
    });
    return await Promise.race([promise, interrupted]).finally(forget);
  }

  /**
   * Tries until it works. One try is given up when there is no answer in `ms`, or when the device wakes: its connection may be
   * dead. Throws final refusals, and the app's reason when it has left.
   */
  async keepTrying<Value>(act: Try<Value>, ms = this.#stallMs): Promise<Value> {
    while (!this.isOver) {
      const abort = new AbortController();
      try {
        const first = await this.first(act(abort.signal, abort), ms);
        if (typeof first !== "string") return first;
        abort.abort();
        if (first === "late") throw new Error(`No answer in ${ms} ms`);
      } catch (cause) {
        if (cause instanceof HoldfastError) throw cause;
        await this.pause(cause);
      }
    }
    throw this.#signal?.reason;
  }

  /** Lets time pass after a failed try: twice as much as after the one before, or what the server asked for. */
  async pause(cause: unknown, longestMs = LONGEST_PAUSE_MS): Promise<void> {
    const doubled = Math.min(longestMs, FIRST_PAUSE_MS * 2 ** this.#pauses);
    const refusal = cause instanceof Error && cause.cause instanceof HoldfastError ? cause.cause : undefined;
    const ms = Math.max(refusal?.retryAfterMs ?? 0, doubled * (0.5 + Math.random() / 2));
    if (this.#pausedMs + ms > this.giveUpAfterMs) {
      if (refusal?.code === "too_many") throw refusal;
      throw new HoldfastError("unreachable", `Gave up: ${cause}`, { cause });
    }
    this.#pauses += 1;
    this.#pausedMs += ms;
    this.onWaiting?.(ms, cause);
    // A wake is a new start: what was waited before it says nothing of the network that is there now.
    if ((await this.first(new Promise<never>(() => {}), ms)) === "woken") this.succeed();
  }
}
