/** One lookup every few seconds, while the page is visible: which conversations are being answered, here or elsewhere. */
import type { LookupRow } from "../src/client/index.ts";
import type { Gateway } from "./gateway.ts";

const EVERY_MS = 3_000;

export class Marks {
  readonly #gateway: Gateway;
  readonly #ids: () => string[];
  readonly #onRows: (rows: readonly LookupRow[], ids: readonly string[]) => Promise<void>;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isLooking = false;

  constructor(
    gateway: Gateway,
    ids: () => string[],
    onRows: (rows: readonly LookupRow[], ids: readonly string[]) => Promise<void>,
  ) {
    this.#gateway = gateway;
    this.#ids = ids;
    this.#onRows = onRows;
  }

  start(): void {
    document.addEventListener("visibilitychange", () => void this.look());
    void this.look();
  }

  /** Now, and again after a while. */
  async look(): Promise<void> {
    if (this.#isLooking || document.visibilityState === "hidden") return;
    this.#isLooking = true;
    clearTimeout(this.#timer);
    try {
      const ids = this.#ids();
      if (ids.length > 0) await this.#onRows(await this.#gateway.lookup(ids), ids);
    } catch {
      // Out of reach: the next look may find it, and the open answer tells of it.
    }
    this.#isLooking = false;
    this.#timer = setTimeout(() => void this.look(), EVERY_MS);
  }
}
