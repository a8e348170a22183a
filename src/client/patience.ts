/**
 * All the waiting of one stream: for a promise, or for the next try. Every wait ends early by a wake, or by the end of the
 * stream, and leaves no timer and no listener behind. One wait at a time.
 */
import { Unavailable } from "./gateway.ts";
import { HoldfastError } from "./holdfast-error.ts";
import type { Wakers } from "./wakers.ts";

/** The pauses between tries: doubled each time from the first to the longest, half of it left to chance. */
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 15_000;

/** What came first: the promise, its time, a wake, or the end of the stream. */
export type First<Value> = { value: Value } | "late" | "woken" | "over";

/** What one try brought, and what ends its request. */
export interface Success<Value> {
  value: Value;
  abort: AbortController;
}

export type OnWaiting = (retryInMs: number, cause: unknown) => void;

export class Patience {
  readonly #wakers: Wakers;
  /** How long all pauses together may be, since the last success. */
  giveUpAfterMs: number;
  #interrupt: ((by: "woken" | "over") => void) | undefined;
  #forgetSignal: (() => void) | undefined;
  #isOver = false;
  #pauses = 0;
  #pausedMs = 0;

  constructor(wakers: Wakers, giveUpAfterMs: number) {
    this.#wakers = wakers;
    this.giveUpAfterMs = giveUpAfterMs;
  }

  /** From now on the app's signal ends it, and then calls `onAbort`. */
  heed(signal: AbortSignal | undefined, onAbort?: () => void): void {
    if (!signal) return;
    const leave = () => {
      this.end();
      onAbort?.();
    };
    this.#forgetSignal = () => signal.removeEventListener("abort", leave);
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave);
  }

  /** No wait begins or goes on after this. */
  end(): void {
    this.#isOver = true;
    this.#forgetSignal?.();
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

  async first<Value>(promise: Promise<Value>, ms: number): Promise<First<Value>> {
    if (this.#isOver) return "over";
    return await new Promise((resolve, reject) => {
      let isSettled = false;
      const settle = (act: () => void) => {
        // A promise that was overtaken settles during a later wait, which is not its own.
        if (isSettled) return;
        isSettled = true;
        clearTimeout(timer);
        ignoreWakes();
        this.#interrupt = undefined;
        act();
      };
      const timer = setTimeout(() => settle(() => resolve("late")), ms);
      const ignoreWakes = this.#wakers.on(() => this.wake());
      this.#interrupt = (by) => settle(() => resolve(by));
      promise.then(
        (value) => settle(() => resolve({ value })),
        (error) => settle(() => reject(error)),
      );
    });
  }

  /** One request, given up when there is no answer in `ms`, or when the device wakes: its connection may be dead. */
  async attempt<Value>(
    act: (signal: AbortSignal) => Promise<Value>,
    ms: number,
  ): Promise<Success<Value> | "woken" | "over"> {
    if (this.#isOver) return "over";
    const abort = new AbortController();
    const first = await this.first(act(abort.signal), ms);
    if (typeof first !== "string") return { value: first.value, abort };
    abort.abort();
    if (first === "late") throw new Error(`No answer in ${ms} ms`);
    return first;
  }

  /** Tries until it works; `undefined` when the stream ended meanwhile. Final refusals are thrown. */
  async keepTrying<Value>(
    act: (signal: AbortSignal) => Promise<Value>,
    ms: number,
    onWaiting?: OnWaiting,
  ): Promise<Success<Value> | undefined> {
    while (true) {
      try {
        const attempt = await this.attempt(act, ms);
        if (attempt === "over") return undefined;
        if (attempt !== "woken") return attempt;
      } catch (cause) {
        if (cause instanceof HoldfastError) throw cause;
        await this.pause(cause, onWaiting);
      }
    }
  }

  /** Lets time pass after a failed try: twice as much as after the one before, or what the server asked for. */
  async pause(cause: unknown, onWaiting?: OnWaiting, longestMs = LONGEST_PAUSE_MS): Promise<void> {
    const doubled = Math.min(longestMs, FIRST_PAUSE_MS * 2 ** this.#pauses);
    const refusal = cause instanceof Unavailable ? cause.refusal : undefined;
    const ms = Math.max(refusal?.retryAfterMs ?? 0, doubled * (0.5 + Math.random() / 2));
    if (this.#pausedMs + ms > this.giveUpAfterMs) {
      if (refusal?.code === "too_many") throw refusal;
      throw new HoldfastError("unreachable", `Gave up: ${cause}`, { cause });
    }
    this.#pauses += 1;
    this.#pausedMs += ms;
    onWaiting?.(ms, cause);
    // A wake is a new start: what was waited before it says nothing of the network that is there now.
    if ((await this.first(new Promise<never>(() => {}), ms)) === "woken") this.succeed();
  }
}
