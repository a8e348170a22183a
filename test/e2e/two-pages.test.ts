/** Two pages of llama.cpp's web UI on one chat: the second one's message ends the first one's answer, and never gets into it. */
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { chatBody, KEY, Site } from "../support/site.ts";
import { type Shown, WebUiPage } from "../support/web-ui-page.ts";

/** How many chats; the full measure is 100. */
const CHATS = Number(process.env.HOLDFAST_CHATS ?? 8);
const AT_ONCE = 10;
const TOKENS = 150;

let site: Site;

afterEach(() => site.close());

/** Which generations a page shows parts of. */
function answersIn(shown: Shown): Set<string> {
  return new Set<string>(shown.bytes.toString().match(/"id":"chatcmpl-[^"]+"/g));
}

/** Page A sends, or has just been opened again; page B sends at a random moment. Returns what the pages show. */
async function chat(name: string): Promise<Shown[]> {
  const pageA = new WebUiPage(site.url, KEY, name);
  const pageB = new WebUiPage(site.url, KEY, name);
  const shown: Promise<Shown>[] = [];
  const reopened: Promise<Shown | undefined>[] = [];
  const isReopened = site.random.between(0, 1) === 0;
  const begun = Promise.withResolvers<void>();
  const onHead = () => {
    if (isReopened) reopened.push(new WebUiPage(site.url, KEY, name).open());
    begun.resolve();
  };
  shown.push(pageA.send(chatBody(`${name}, page A`, TOKENS), onHead));
  if (site.random.between(0, 3) > 0) await begun.promise;
  // A tenth of the answers are over by then.
  await pause(site.random.between(0, 800));
  shown.push(pageB.send(chatBody(`${name}, page B`, TOKENS)));
  const all = await Promise.all(shown);
  const again = await Promise.all(reopened);
  return [...all, ...again.filter((page) => page !== undefined)];
}

it(`in none of ${CHATS} chats one page shows a byte of the other's answer`, async () => {
  site = await Site.start({ slots: 24, paceMs: 5 });
  const names = Array.from({ length: CHATS }, (_, i) => `chat-${i}`).values();
  const mixed: string[] = [];
  let replaced = 0;
  let pages = 0;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const name of names) {
        const all = await chat(name);
        pages += all.length;
        replaced += all.filter(({ outcome }) => outcome === "could not be resumed").length;
        const outcomes = all.map(({ outcome }) => outcome);
        expect(outcomes, `the last message of ${name} is answered`).toContain("complete");
        if (all.some((shown) => answersIn(shown).size > 1)) mixed.push(name);
      }
    }),
  );
  console.log(
    `seed ${site.random.seed}: ${CHATS} chats, ${pages} pages, ${replaced} of them replaced, ${mixed.length} mixed`,
  );
  expect(mixed).toEqual([]);
  expect(replaced).toBeGreaterThan(CHATS / 2);
});
