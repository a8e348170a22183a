/**
 * Who asks for conversations that do not exist. Each such question wakes an object, which costs the machine a file and
 * memory; a tenant that asked for many is made to ask its index first. Counted per isolate: a guard, not a limit.
 */
const WINDOW_MS = 10_000;
const MANY_UNKNOWN_IDS = 100;
/** Tenants counted at a time; each has shown a key. */
const MAX_TENANTS = 1_000;

export class UnknownIds {
  readonly #counts = new Map<string, { since: number; count: number }>();

  note(tenant: string, now: number): void {
    const known = this.#counts.get(tenant);
    if (known && now - known.since < WINDOW_MS) {
      known.count += 1;
      return;
    }
    if (this.#counts.size >= MAX_TENANTS) this.#counts.clear();
    this.#counts.set(tenant, { since: now, count: 1 });
  }

  /** More than MANY_UNKNOWN_IDS within a window, the one that is running or the one before. */
  areMany(tenant: string, now: number): boolean {
    const known = this.#counts.get(tenant);
    return known !== undefined && known.count >= MANY_UNKNOWN_IDS && now - known.since < 2 * WINDOW_MS;
  }
}
