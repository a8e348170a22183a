/**
 * npm run bench:page: what a person waits for on the page: the first paint, and the first word of an answer.
 *
 * A real Chromium, the gateway on plain workerd, and the real llama-server where LLAMA_SERVER names one, else the demo
 * origin. Each round is a browser context of its own, so nothing is cached; `again` is a reload in it.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { startDemoOrigin } from "../demo/origin.ts";
import { buildBundle, DIST } from "../tools/bundle.ts";
import { launchChromium } from "../tools/chromium.ts";
import { startGateway } from "../tools/gateway.ts";
import { startLlamaServer } from "../tools/llama-server.ts";
import { median } from "./bench.ts";

const ROUNDS = 10;
const KEY = "key-of-the-bench";

const FIRST_PAINT = `new Promise((done) => {
  const painted = (entries) => {
    const found = entries.find(({ name }) => name === "first-contentful-paint");
    if (found) done(found.startTime);
  };
  new PerformanceObserver((list) => painted(list.getEntries())).observe({ type: "paint", buffered: true });
})`;

/** From the click on Send to the first character of the answer on the screen. */
const FIRST_WORD = `new Promise((done) => {
  const pressed = performance.now();
  const look = () => {
    const shown = [...document.querySelectorAll(".answer .prose")].at(-1);
    if (shown?.textContent) done(performance.now() - pressed);
    else requestAnimationFrame(look);
  };
  document.querySelector("button[aria-label=Send]").click();
  look();
})`;

async function round(browser: Browser, url: string, record: (figure: string, ms: number) => void): Promise<void> {
  const context = await browser.newContext();
  const page = await context.newPage();
  // A short answer: one that still runs in the next round would hold a slot.
  await page.route("**/v1/chat/completions", (route) => {
    const asked: Record<string, unknown> = route.request().postDataJSON();
    return route.continue({ postData: JSON.stringify({ ...asked, max_tokens: 20 }) });
  });
  await page.goto(`${url}/#key=${KEY}`);
  record("first paint, nothing cached", await page.evaluate<number>(FIRST_PAINT));
  record("first word of the first answer", await firstWord(page));
  await page.getByRole("button", { name: "New conversation", exact: true }).click();
  record("first word of the next answer", await firstWord(page));
  await page.reload();
  record("first paint, again", await page.evaluate<number>(FIRST_PAINT));
  await context.close();
}

async function firstWord(page: Page): Promise<number> {
  await page.getByLabel("Your question").fill("Hello");
  return await page.evaluate<number>(FIRST_WORD);
}

const launcher = process.env.LLAMA_SERVER;
const origin = launcher ? await startLlamaServer(launcher, {}) : await startDemoOrigin();
const storage = await mkdtemp(join(tmpdir(), "holdfast-bench-page-"));
const gateway = await startGateway({
  bundle: await buildBundle(DIST),
  origin: origin.url,
  storage,
  apiKeys: `bench=${KEY}`,
});
const browser = await launchChromium();
try {
  const figures = new Map<string, number[]>();
  const record = (figure: string, ms: number) => figures.set(figure, [...(figures.get(figure) ?? []), ms]);
  for (let i = 0; i < ROUNDS; i++) await round(browser, gateway.url, record);
  for (const [figure, values] of figures) {
    const [least, most] = [Math.min(...values), Math.max(...values)].map((ms) => ms.toFixed(0));
    console.log(`${figure.padEnd(32)} ${median(values).toFixed(0).padStart(5)} ms   (${least} to ${most})`);
  }
  console.log(`${ROUNDS} rounds; ${launcher ? "llama-server with a tiny model" : "the demo origin"}`);
} finally {
  await browser.close();
  await gateway.kill();
  await ("kill" in origin ? origin.kill() : origin.close());
  await rm(storage, { recursive: true, force: true });
}
