/**
 * One origin, or several that pass for one: what a test does to the origin, or to the way to it, is done to all of them.
 * So the tests that need no particular number hold with several as well.
 *
 *   gateway ─┬─▶ proxy ──▶ origin
 *            └─▶ proxy ──▶ origin …
 */
import { FaultProxy, type Faults, type SeenRequest } from "./fault-proxy.ts";
import { startOrigin, type TestOrigin, type TestOriginOptions } from "./origin.ts";
import type { Random } from "./random.ts";

export interface TestOrigins extends TestOrigin {
  readonly urls: readonly string[];
}

/** `ports`: where they were before. */
export async function startOrigins(
  count: number,
  options: TestOriginOptions,
  ports: readonly number[] = [],
): Promise<TestOrigins> {
  const starts = Array.from({ length: count }, (_, i) => {
    const port = ports[i];
    return startOrigin({ ...options, ...(port !== undefined && { port }) });
  });
  return together(await Promise.all(starts));
}

export function together(origins: readonly TestOrigin[]): TestOrigins {
  const urls = origins.map(({ url }) => url);
  return {
    url: urls[0] ?? "",
    urls,
    isReal: origins.some(({ isReal }) => isReal),
    busySlots: () => sum(origins, (origin) => origin.busySlots()),
    generations: (tokens) => sum(origins, (origin) => origin.generations(tokens)),
    kill: async () => void (await Promise.all(origins.map((origin) => origin.kill()))),
  };
}

async function sum(origins: readonly TestOrigin[], count: (origin: TestOrigin) => Promise<number>): Promise<number> {
  const counts = await Promise.all(origins.map(count));
  return counts.reduce((all, one) => all + one, 0);
}

/** A proxy before each. */
export class FaultProxies {
  readonly #proxies: readonly FaultProxy[];
  #faults: Faults = {};

  private constructor(proxies: readonly FaultProxy[]) {
    this.#proxies = proxies;
    this.faults = {};
  }

  static async start(targetUrls: readonly string[], random: Random): Promise<FaultProxies> {
    return new FaultProxies(await Promise.all(targetUrls.map((url) => FaultProxy.start(url, random))));
  }

  get urls(): readonly string[] {
    return this.#proxies.map(({ url }) => url);
  }

  /** All of them share these. */
  get faults(): Faults {
    return this.#faults;
  }

  set faults(faults: Faults) {
    this.#faults = faults;
    for (const proxy of this.#proxies) proxy.faults = faults;
  }

  get cuts(): number {
    return this.#proxies.reduce((all, { cuts }) => all + cuts, 0);
  }

  get connections(): number {
    return this.#proxies.reduce((all, { connections }) => all + connections, 0);
  }

  get requests(): SeenRequest[] {
    return this.#proxies.flatMap(({ requests }) => requests);
  }

  cutAll(how?: "fin" | "rst"): void {
    for (const proxy of this.#proxies) proxy.cutAll(how);
  }

  async close(): Promise<void> {
    await Promise.all(this.#proxies.map((proxy) => proxy.close()));
  }
}
