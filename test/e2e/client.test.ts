/**
 * `holdfast/client` under the SDKs, on a network that cuts every few kilobytes in every way there is: the text is the text of
 * an undisturbed reader, and the origin was asked once.
 *
 * HOLDFAST_GENERATIONS=200 is the long run: so many answers with OpenAI's SDK, and a quarter with each of the others.
 */
import { afterEach, describe, expect, it } from "vitest";
import { createResumingFetch, type Fetch, type ResumingFetchOptions } from "../../src/client/index.ts";
import { until } from "../../tools/wait.ts";
import { installExamples } from "../support/examples.ts";
import type { Random } from "../support/random.ts";
import { saidIn } from "../support/said.ts";
import { SDKS, type Sdk } from "../support/sdks.ts";
import { KEY, Site } from "../support/site.ts";

const GENERATIONS = Number(process.env.HOLDFAST_GENERATIONS ?? 8);
/** How many are under way at once: as many as the origin has slots. */
const AT_ONCE = 4;
const TOKENS = 120;
/** Shorter than an app's would be, so that many silences fit into a test; the origin is never silent for so long. */
const STALL_MS = 700;

let site: Site;

afterEach(() => site.close());

const counted = SDKS.map(
  (sdk, index) => [sdk.name, sdk, index === 0 ? GENERATIONS : Math.ceil(GENERATIONS / 4)] as const,
);

describe("answers over a network that cuts every 1 to 5 kB", () => {
  it.each(counted)("%s: are whole, each from one generation", { timeout: 900_000 }, async (_, sdk, generations) => {
    await startSite();
    await askAll(sdk, generations);
    expect(await site.origin.generations(TOKENS)).toBe(generations);
  });

  it.each(counted)(
    "%s: are whole while the gateway is killed, too",
    { timeout: 900_000 },
    async (_, sdk, generations) => {
      await startSite();
      let isDone = false;
      const kills = killAgainAndAgain(() => isDone);
      await askAll(sdk, generations).finally(() => {
        isDone = true;
      });
      expect(await kills).toBeGreaterThan(0);
      expect(await site.origin.generations(TOKENS)).toBe(generations);
    },
  );
});

async function startSite(): Promise<void> {
  await installExamples();
  site = await Site.start({ slots: AT_ONCE, paceMs: 5 });
  site.front.faults = { cutAfterBytes: [1_000, 5_000], how: ["rst", "fin", "half", "silence"] };
}

/** Asks so many questions, a few at a time; throws at the first text that is not the origin's. */
async function askAll(sdk: Sdk, generations: number): Promise<void> {
  let asked = 0;
  let resumes = 0;
  const options: Partial<ResumingFetchOptions> = {
    onState: (state) => {
      if (state.name === "ended") resumes += state.resumes;
    },
  };
  const worker = async () => {
    while (asked < generations) {
      asked += 1;
      const prompt = `${sdk.name} ${asked}`;
      const question = { prompt, tokens: TOKENS, conversation: `c ${prompt}` };
      const text = await sdk.ask(site.front.url, resumingFetch(options), question);
      expect(text).toBe(saidIn(await site.atOrigin(prompt)));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  console.log(`${sdk.name}: ${generations} answers, ${resumes} resumes, ${site.front.cuts} cuts by the proxy`);
  expect(resumes).toBeGreaterThan(0);
}

function resumingFetch(options: Partial<ResumingFetchOptions> = {}) {
  const fetch = sometimesEndsCleanly((input, init) => globalThis.fetch(input, init), site.random);
  return createResumingFetch({
    url: site.front.url,
    apiKey: KEY,
    fetch,
    stallMs: STALL_MS,
    answerMs: 2_000,
    ...options,
  });
}

/** As iOS does to a page in the background: the body of a live answer ends as if that were all. */
function sometimesEndsCleanly(fetch: Fetch, random: Random): Fetch {
  return async (input, init) => {
    const response = await fetch(input, init);
    if (!response.body || !response.headers.has("Holdfast-Session") || random.next() > 0.2) return response;
    let left = random.between(1, 5_000);
    const cut = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        controller.enqueue(chunk.subarray(0, left));
        left -= chunk.length;
        if (left <= 0) controller.terminate();
      },
    });
    return new Response(response.body.pipeThrough(cut), response);
  };
}

async function killAgainAndAgain(isDone: () => boolean): Promise<number> {
  let kills = 0;
  while (!isDone()) {
    const bytes = site.front.downstreamBytes;
    // By what has passed, so that a kill falls into an answer.
    await until(() => isDone() || site.front.downstreamBytes > bytes + 15_000, "15 kB have passed", 60_000);
    if (isDone()) break;
    await site.restartGateway();
    kills += 1;
  }
  return kills;
}
