/**
 * What this app asked, by conversation: the key that joins the request again, and the session that fences it. The newest
 * MAX_ENTRIES are in memory; unfinished ones are in the app's storage too, where a reload finds them.
 */
import type { Asked } from "./asked.ts";
import type { ResumeStorage } from "./options.ts";

/** A server that serves many conversations forgets the oldest: their next stop is not fenced. */
const MAX_ENTRIES = 1_000;

/** What a reload finds. */
export interface Stored {
  key?: string;
  session?: string;
}

export class Memory {
  readonly #storage: ResumeStorage | undefined;
  readonly #prefix: string;
  readonly #asked = new Map<string, Asked>();

  constructor(storage: ResumeStorage | undefined, url: string) {
    this.#storage = storage;
    this.#prefix = `holdfast ${url} `;
  }

  get(id: string): Asked | undefined {
    return this.#asked.get(id);
  }

  /** From an earlier life of the page. */
  async stored(id: string): Promise<Stored> {
    try {
      const text = await this.#storage?.getItem(this.#prefix + id);
      return text ? (JSON.parse(text) as Stored) : {};
    } catch {
      // A storage that is closed, full or damaged costs the reload its memory, and no answer.
      return {};
    }
  }

  async remember(asked: Asked): Promise<void> {
    this.#asked.delete(asked.id);
    this.#asked.set(asked.id, asked);
    const [oldest] = this.#asked.keys();
    if (this.#asked.size > MAX_ENTRIES && oldest !== undefined) this.#asked.delete(oldest);
    const { key, session } = asked;
    const text = JSON.stringify({ key, session });
    await quietly(() => this.#storage?.setItem(this.#prefix + asked.id, text));
  }

  /** The answer has ended: the next page has nothing to join. Here its session stays known, and fences a late stop. */
  async finish(asked: Asked): Promise<void> {
    const newest = this.#asked.get(asked.id);
    if (newest && newest !== asked) return;
    await quietly(() => this.#storage?.removeItem(this.#prefix + asked.id));
  }
}

async function quietly(act: () => unknown): Promise<void> {
  try {
    await act();
  } catch {
    // As above: an answer does not fail for its bookmark.
  }
}
