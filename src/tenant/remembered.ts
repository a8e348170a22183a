/** What an isolate was told a short while ago: a bounded number of answers, the oldest go first. */
export class Remembered<T> {
  readonly #most: number;
  readonly #answers = new Map<string, { readonly answer: T; readonly at: number }>();

  constructor(most: number) {
    this.#most = most;
  }

  /** The answer and its age in milliseconds, if it is younger than `maxAgeMs`. */
  find(name: string, now: number, maxAgeMs: number): { answer: T; ageMs: number } | undefined {
    const found = this.#answers.get(name);
    if (!found || now - found.at >= maxAgeMs) return undefined;
    return { answer: found.answer, ageMs: now - found.at };
  }

  set(name: string, answer: T, now: number): void {
    this.#answers.delete(name);
    this.#answers.set(name, { answer, at: now });
    if (this.#answers.size <= this.#most) return;
    for (const oldest of this.#answers.keys()) {
      this.#answers.delete(oldest);
      return;
    }
  }
}
