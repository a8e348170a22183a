/** The page in a real Chromium, against the gateway as `npm start` runs it: what survives what, as a person sees it. */
import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { launchChromium } from "../../tools/chromium.ts";
import { until } from "../../tools/wait.ts";
import { saidIn } from "../support/said.ts";
import { KEY, Site } from "../support/site.ts";
import { HoldfastPage, type OpenOptions, PATIENCE_MS, PHONE, squeezed } from "./holdfast-page.ts";

/** The tiny model of the real server is some ten times as fast as the demo. */
const TOKENS = process.env.LLAMA_SERVER ? 2_500 : 300;
const PACE_MS = 20;
const QUESTION = "Tell me about the sea";

let browser: Browser;
let site: Site;
const pages: HoldfastPage[] = [];

beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser.close());
beforeEach(async () => {
  site = await Site.start({ slots: 4, paceMs: PACE_MS });
});
afterEach(async () => {
  try {
    for (const page of pages.splice(0)) await page.close();
  } finally {
    await site.close();
  }
});

describe("a person", () => {
  it("signs in with a key, and is told of a wrong one", async () => {
    const { page } = await open({ fragment: "" });
    await page.getByText("On this machine the key is in the file api-key").waitFor();
    await page.getByLabel("Your API key").fill("not-a-key-of-this-gateway");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("The gateway does not know this key.").waitFor();

    await page.getByLabel("Your API key").fill(KEY);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByLabel("Your question").waitFor();
    await page.reload();
    await page.getByLabel("Your question").waitFor();
  });

  it("is signed in by a link, whose key leaves the address and the history", async () => {
    const { page } = await open();
    await page.getByLabel("Your question").waitFor();

    expect(page.url()).toBe(`${site.front.url}/`);
    expect(await page.evaluate("history.length")).toBeLessThanOrEqual(2);
  });

  it("who has a key is asked before a link signs them in with another", async () => {
    const { page } = await open();
    await page.getByLabel("Your question").waitFor();
    await page.goto(`${site.front.url}/?again#key=somebody-elses-key-0123`);
    await page.getByText("Use it instead of yours?").waitFor();
    await page.getByRole("button", { name: "Close" }).click();
    await page.getByLabel("Your question").waitFor();

    expect(await page.evaluate("localStorage['holdfast key']")).toBe(KEY);
  });

  it("reads the whole answer, of one generation", async () => {
    const page = await open();
    await page.ask(QUESTION);
    await expectWhole(page);
  });

  it("reloads the page every second: the answer goes on without a flicker or a doubled word", async () => {
    const page = await open();
    await page.ask(QUESTION);
    await page.moreText();
    let reloads = 0;
    for (; await page.isLive(); reloads++) {
      await page.page.waitForTimeout(1_000);
      await page.page.reload();
      await page.page.locator(".answer").last().waitFor();
    }

    expect(reloads).toBeGreaterThan(2);
    await expectWhole(page);
    const lengths = await page.lengthsSeen();
    expect(lengths).toEqual(lengths.toSorted((a, b) => a - b));
  });

  it("loses the network, is told so, and has the whole answer when it is back", async () => {
    const page = await open();
    await page.ask(QUESTION);
    for (let times = 0; times < 2; times++) {
      await page.moreText();
      await page.context.setOffline(true);
      site.front.cutAll();
      await page.page.getByText("You are offline").waitFor();
      await until(async () => (await page.status()).includes("No connection"), "the answer says that it waits");
      await page.context.setOffline(false);
      await until(async () => !(await page.status()).includes("No connection"), "the answer goes on", 30_000);
    }
    await expectWhole(page);
    expect(await page.page.getByText("You are offline").count()).toBe(0);
  });

  it("notices a gateway that is killed and comes back by nothing but a pause", async () => {
    const page = await open();
    await page.ask(QUESTION);
    await page.moreText();
    await site.restartGateway();
    await page.moreText();
    await site.restartGateway();
    await expectWhole(page);
  });

  it("stops an answer in less than half a second: the GPU is free, what had come stays", async () => {
    const page = await open();
    await page.ask(QUESTION);
    await page.moreText();
    expect(await page.stop()).toBeLessThan(500);
    await until(async () => (await site.origin.busySlots()) === 0, "the GPU is free");

    const text = await page.text();
    expect(text).not.toBe("");
    await page.page.reload();
    await page.page.getByText("Stopped", { exact: true }).waitFor();
    expect(await page.text()).toBe(text);
  });

  it("whose phone slept through the end finds the finished answer", async () => {
    const page = await open({ context: PHONE });
    await page.ask(QUESTION);
    await page.moreText();
    const devtools = await page.context.newCDPSession(page.page);
    await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
    site.front.cutAll();
    await whenAnswered(page.conversation);
    await devtools.send("Page.setWebLifecycleState", { state: "active" });
    await expectWhole(page);
  });

  it("who closed the page finds the finished answer in a new one", async () => {
    const page = await open();
    await page.ask(QUESTION);
    await page.moreText();
    const address = page.page.url();
    const { conversation } = page;
    await page.page.goto("about:blank");
    await whenAnswered(conversation);
    await page.page.goto(address);
    await page.page.locator(".answer").waitFor();
    await expectWhole(page);
  });

  it("asks on one device and reads on another; a stop there is seen here", async () => {
    const first = await open();
    await first.ask(QUESTION);
    await first.moreText();
    const second = await open({ context: PHONE, fragment: `key=${KEY}&c=${first.conversation}` });
    await second.page.getByText("The earlier messages are on the device this link came from").waitFor();
    await second.moreText();
    await until(async () => (await second.text()).length >= (await first.text()).length, "both have the same");
    await second.button("Stop").click();
    await first.page.getByText("Stopped", { exact: true }).waitFor();
    await second.page.getByText("Stopped", { exact: true }).waitFor();

    await first.ask("And the whales?");
    await until(async () => (await second.page.locator(".answer").count()) === 2, "the second answer shows up", 15_000);
    await first.whenDone();
    await second.whenDone();
    expect(await second.text()).toBe(await first.text());
  });

  it("reads another conversation meanwhile: marks tell which is being answered, and which has an answer", async () => {
    const page = await open();
    await page.ask(QUESTION);
    await page.moreText();
    await page.button("New conversation").click();
    await page.page.getByText("is being answered").waitFor({ state: "attached" });
    await page.page.getByText("has a new answer").waitFor({ state: "attached", timeout: 60_000 });
    await page.page.getByRole("button", { name: QUESTION }).first().click();
    await expectWhole(page);
  });

  it("asks again, and in another way", async () => {
    const page = await open({ body: { max_tokens: 20 } });
    await page.ask(QUESTION);
    await page.whenDone();
    await page.button("Answer again").click();
    await until(async () => (await site.origin.generations(20)) === 2, "it is generated again");
    await page.whenDone();
    expect(await page.page.locator(".answer").count()).toBe(1);

    await page.button("Edit and ask again").click();
    expect(await page.page.getByLabel("Your question").inputValue()).toBe(QUESTION);
    await page.ask("Tell me about the land");
    await page.whenDone();
    expect(await page.page.locator(".question .bubble").allTextContents()).toEqual(["Tell me about the land"]);
  });

  it("has 50 answers running at once, and stops the open one in less than half a second", async () => {
    await site.close();
    site = await Site.start({ slots: 50, paceMs: 100 });
    const page = await open({ body: { max_tokens: 2_000 } });
    for (let asked = 1; asked <= 50; asked++) {
      if (asked > 1) await page.button("New conversation").click();
      await page.ask(`Question ${asked}`);
    }
    await until(async () => (await site.origin.busySlots()) === 50, "all are running", 60_000);
    await page.moreText();
    expect(await page.stop()).toBeLessThan(500);
    await until(async () => (await page.page.locator(".mark.running").count()) === 49, "49 are marked", 15_000);
  });
});

async function open(options: Partial<OpenOptions> = {}): Promise<HoldfastPage> {
  const page = await HoldfastPage.open(browser, {
    url: site.front.url,
    fragment: `key=${KEY}`,
    body: { max_tokens: TOKENS, seed: 1, cache_prompt: false },
    ...options,
  });
  pages.push(page);
  return page;
}

/** The page shows what an undisturbed reader of the origin has. */
async function expectWhole(page: HoldfastPage): Promise<void> {
  await page.whenDone();
  expect(squeezed(await page.text())).toBe(squeezed(saidIn(await site.atOrigin(QUESTION))));
  expect(await site.origin.generations(TOKENS)).toBe(1);
}

async function whenAnswered(conversation: string): Promise<void> {
  await until(async () => (await site.row(conversation))?.is_done, "the gateway has the whole answer", PATIENCE_MS);
}
