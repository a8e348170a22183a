/**
 * Pings for a session that is silent while clients read it: a comment after at most 2 s, by design, because llama.cpp's web
 * UI gives up after 3 s. Runs between `start` and `stop`.
 */
import type { Clock } from "../../clock.ts";

const PING_AFTER_MS = 1_800;

export class Keepalive {
  readonly #clock: Clock;
  readonly #ping: () => void;
  #cancel: (() => void) | undefined;
  /** When the answer last grew, Unix milliseconds. */
  #grewAt: number;

  /** `ping` adds a ping if one may stand here; if not, it is called again after another turn of silence. */
  constructor(clock: Clock, ping: () => void) {
    this.#clock = clock;
    this.#ping = ping;
    this.#grewAt = clock.now();
  }

  grew(now: number): void {
    this.#grewAt = now;
  }

  start(): void {
    this.stop();
    const rest = PING_AFTER_MS - (this.#clock.now() - this.#grewAt);
    // Nothing left of the wait: the reader has only just come, or no frame may stand here; look again after a full turn.
    this.#cancel = this.#clock.after(rest > 0 ? rest : PING_AFTER_MS, () => this.#check());
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #check(): void {
    const isDue = this.#clock.now() - this.#grewAt >= PING_AFTER_MS;
    // First the next turn: what `ping` does may stop it.
    this.start();
    if (isDue) this.#ping();
  }
}
