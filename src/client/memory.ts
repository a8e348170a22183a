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
    const read = async (): Promise<Stored> => JSON.parse((await this.#storage?.getItem(this.#prefix + id)) ?? "{}");
    return (await quietly(read)) ?? {};
  }

  async remember(asked: Asked): Promise<void> {
    const { id, key, session } = asked;
    this.#asked.delete(id);
    this.#asked.set(id, asked);
    const [oldest = ""] = this.#asked.keys();
    if (this.#asked.size > MAX_ENTRIES) this.#asked.delete(oldest);
    await quietly(() => this.#storage?.setItem(this.#prefix + id, JSON.stringify({ key, session })));
  }

  /** The answer has ended: the next page has nothing to join. Here its session stays known, and fences a late stop. */
  async finish(asked: Asked): Promise<void> {
    const newest = this.#asked.get(asked.id);
    if (newest && newest !== asked) return;
    await quietly(() => this.#storage?.removeItem(this.#prefix + asked.id));
  }
}

/** A storage that is closed, full or damaged costs the reload its memory, and no answer. */
async function quietly<Value>(act: () => Value): Promise<Awaited<Value> | undefined> {
  try {
    return await act();
  } catch {
    return undefined;
  }
}
