/**
 * Tells waiting streams that the device, or its network, is back. Listens to the browser's events only while a stream
 * waits for something, so that nothing is left behind by an answer that ended or was forgotten.
 */

/** An unlocked phone fires `visibilitychange`, `pageshow` and `online` at once: that is one wake. */
const DEBOUNCE_MS = 1_000;

/** The browser's window, or what a runtime without one has in its place. */
const page = globalThis as Partial<Pick<EventTarget, "addEventListener" | "removeEventListener">> & {
  document?: { visibilityState?: string };
};

export class Wakers {
  readonly #listeners = new Set<() => void>();
  #lastWake = Number.NEGATIVE_INFINITY;

  /** Calls `listener` at each wake, until the returned function is called. */
  on(listener: () => void): () => void {
    if (this.#listeners.size === 0) this.#page("addEventListener");
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#page("removeEventListener");
    };
  }

  wake(): void {
    const now = performance.now();
    if (now - this.#lastWake < DEBOUNCE_MS) return;
    this.#lastWake = now;
    for (const listener of this.#listeners) listener();
  }

  readonly #onEvent = (): void => {
    if (page.document?.visibilityState !== "hidden") this.wake();
  };

  /** `visibilitychange` bubbles up to the window. Outside of a page there are no such events. */
  #page(act: "addEventListener" | "removeEventListener"): void {
    for (const name of ["online", "pageshow", "visibilitychange"]) page.document && page[act]?.(name, this.#onEvent);
  }
}
