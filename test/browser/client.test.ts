/**
 * `holdfast/client` in a real Chromium, in the page of examples/page.html: whatever the browser does to the page, its text is
 * the text of an undisturbed reader. HOLDFAST_HIDDEN_SECONDS=60 is the long run.
 */
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ROOT } from "../../tools/bundle.ts";
import { launchChromium } from "../../tools/chromium.ts";
import { buildClient, LIB } from "../../tools/client-package.ts";
import { until } from "../../tools/wait.ts";
import { type FileServer, serveFiles } from "../support/file-server.ts";
import { saidIn } from "../support/said.ts";
import { KEY, Site } from "../support/site.ts";

const HIDDEN_MS = 1_000 * Number(process.env.HOLDFAST_HIDDEN_SECONDS ?? 4);
/** What the page asks for. */
const TOKENS = 400;
const PROMPT = "Tell me about the sea";

let files: FileServer;
let browser: Browser;
let site: Site;
let context: BrowserContext;
let page: Page;

beforeAll(async () => {
  await buildClient(LIB);
  files = await serveFiles(ROOT, ["examples/page.html", "lib/client.js", "LICENSE"]);
  browser = await launchChromium();
});
afterAll(async () => {
  await browser.close();
  await files.close();
});
beforeEach(async () => {
  site = await Site.start({ slots: 2, paceMs: 20 });
  context = await browser.newContext();
  page = await context.newPage();
  await page.goto(`${files.url}/examples/page.html#url=${encodeURIComponent(site.front.url)}&key=${KEY}`);
  await until(async () => (await state()) === "gone", "the page has found that there is no answer yet");
});
afterEach(async () => {
  await context.close();
  await site.close();
});

describe("a page", () => {
  it("on a network that cuts every few kilobytes shows the whole answer", async () => {
    // A browser throws away what it has not handed on when the connection breaks: a cut in the same millisecond brings nothing.
    site.front.faults = { cutAfterBytes: [1_000, 5_000], cutDelayMs: 50, how: ["rst", "fin", "half"] };
    await ask();
    await expectWhole();
  });

  it("that is reloaded every second until the answer is done shows the whole of it", async () => {
    await ask();
    let reloads = 0;
    for (; !(await isDone()); reloads++) {
      await page.waitForTimeout(1_000);
      await page.reload();
    }
    expect(reloads).toBeGreaterThan(0);
    await expectWhole();
  });

  it("that goes offline and comes back shows the whole answer", async () => {
    await ask();
    for (let times = 0; times < 3; times++) {
      await someText();
      await context.setOffline(true);
      site.front.cutAll();
      await until(async () => (await state()).startsWith("waiting"), "the page waits for the network");
      await context.setOffline(false);
      await until(async () => !(await state()).startsWith("waiting"), "the page reads on");
    }
    await expectWhole();
  });

  it("whose tab is hidden and frozen, and whose connection dies meanwhile, shows the whole answer", async () => {
    await ask();
    await someText();
    const id = await conversation();
    const devtools = await context.newCDPSession(page);
    await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
    site.front.cutAll();
    await until(() => site.row(id).then((row) => row?.is_done), "the answer is done", HIDDEN_MS + 60_000);
    await new Promise((resolve) => setTimeout(resolve, HIDDEN_MS));
    await devtools.send("Page.setWebLifecycleState", { state: "active" });
    await expectWhole();
  });

  it("that is left for another and comes back from the back/forward cache shows the whole answer", async () => {
    await page.evaluate("addEventListener('pageshow', (event) => { document.title = 'persisted ' + event.persisted })");
    await ask();
    await someText();
    await page.goto(`${files.url}/LICENSE`);
    // A page out of the cache is not loaded again.
    await page.goBack({ waitUntil: "commit" });
    await expectWhole();
    expect(await page.title()).toBe("persisted true");
  });
});

async function ask(): Promise<void> {
  await page.getByRole("button", { name: "Ask" }).click();
  await someText();
}

/** More text than now. */
async function someText(): Promise<void> {
  const { length } = await text();
  await until(async () => (await text()).length > length, "there is more text");
}

async function expectWhole(): Promise<void> {
  const isOver = async () => !/^(live|waiting)/.test(await state());
  await until(isOver, "the page has the end of the answer", HIDDEN_MS + 60_000);
  expect(await state()).toMatch(/^done/);
  expect(await text()).toBe(saidIn(await site.atOrigin(PROMPT)));
  expect(await site.origin.generations(TOKENS)).toBe(1);
}

async function isDone(): Promise<boolean> {
  return (await state()).startsWith("done");
}

const text = async () => (await page.locator("p").first().textContent()) ?? "";
const state = async () => (await page.locator("p").nth(1).textContent()) ?? "";
const conversation = () => page.evaluate<string>("sessionStorage.conversation");
