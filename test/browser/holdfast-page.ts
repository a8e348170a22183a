/** The page in a browser, driven as a person drives it, and watched for what must never happen in it. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import { expect } from "vitest";
import { until } from "../../tools/wait.ts";

export const PHONE: BrowserContextOptions = {
  viewport: { width: 390, height: 844 },
  hasTouch: true,
  isMobile: true,
};

export const SMALL_PHONE = { ...PHONE, viewport: { width: 320, height: 568 } };
const THUMB_PX = 44;

/** For a whole answer: a real model on a machine that does other things takes ten times as long as alone. */
export const PATIENCE_MS = 240_000;

/** Chromium's own words about a connection that was lost on purpose. */
const NETWORK_NOISE =
  /^Failed to load resource: (?:net::ERR_|the server responded with a status of (?:40[149]|429|50[23]))/;

export interface OpenOptions {
  url: string;
  /** Behind the `#`. */
  fragment?: string;
  context?: BrowserContextOptions;
  /** Added to what the page asks, so that an answer has a known end. */
  body?: Record<string, unknown>;
  /** Told in place of the origin's. */
  models?: string[];
}

export class HoldfastPage {
  readonly context: BrowserContext;
  readonly page: Page;
  /** Errors in the console, exceptions, and requests to other hosts. */
  readonly offences: string[] = [];

  private constructor(context: BrowserContext, page: Page, url: string) {
    this.context = context;
    this.page = page;
    page.on("console", (message) => {
      if (message.type() === "error" && !NETWORK_NOISE.test(message.text())) this.offences.push(message.text());
    });
    page.on("pageerror", (error) => this.offences.push(String(error)));
    page.on("request", (request) => {
      const { origin, protocol } = new URL(request.url());
      if (protocol !== "data:" && protocol !== "blob:" && origin !== url) this.offences.push(request.url());
    });
  }

  static async open(
    browser: Browser,
    { url, fragment = "", context: how, body, models }: OpenOptions,
  ): Promise<HoldfastPage> {
    const context = await browser.newContext(how);
    const page = await context.newPage();
    await page.addInitScript(watchAnswer);
    if (body) {
      await page.route("**/v1/chat/completions", (route) => {
        const asked: Record<string, unknown> = route.request().postDataJSON();
        return route.continue({ postData: JSON.stringify({ ...asked, ...body }) });
      });
    }
    if (models) {
      const data = models.map((id) => ({ id }));
      await page.route("**/v1/models", (route) => route.fulfill({ json: { object: "list", data } }));
    }
    const opened = new HoldfastPage(context, page, url);
    await page.goto(`${url}/#${fragment}`);
    return opened;
  }

  async close(): Promise<void> {
    await this.context.close();
    expect(this.offences).toEqual([]);
  }

  async ask(question: string): Promise<void> {
    await this.page.getByLabel("Your question").fill(question);
    await this.button("Send").click();
  }

  /** Presses Stop; milliseconds until the page says that it has stopped, by the page's own clock. */
  async stop(): Promise<number> {
    return await this.page.evaluate<number>(`new Promise((done) => {
      const pressed = performance.now();
      new MutationObserver(() => {
        const status = [...document.querySelectorAll(".answer .status")].at(-1);
        if (status?.textContent === "Stopped") done(performance.now() - pressed);
      }).observe(document.body, { subtree: true, childList: true, characterData: true });
      document.querySelector("button[aria-label=Stop]").click();
    })`);
  }

  button(name: string) {
    return this.page.getByRole("button", { name, exact: true });
  }

  /** Of the newest answer, as it is shown. */
  async text(): Promise<string> {
    return await this.page.evaluate<string>(
      `[...document.querySelectorAll(".answer .prose")].at(-1)?.textContent ?? ""`,
    );
  }

  async status(): Promise<string> {
    return await this.page.evaluate<string>(
      `[...document.querySelectorAll(".answer .status")].at(-1)?.textContent ?? ""`,
    );
  }

  /** Waits for more text than now. */
  async moreText(): Promise<void> {
    const { length } = await this.text();
    await until(async () => (await this.text()).length > length, "there is more text", 30_000);
  }

  async isLive(): Promise<boolean> {
    return (await this.page.locator(".answer.live").count()) > 0;
  }

  async whenDone(): Promise<void> {
    await until(
      async () => !(await this.isLive()) && (await this.page.locator(".answer").count()) > 0,
      "the answer is done",
      PATIENCE_MS,
    );
  }

  /** How long the newest answer was at each frame, over all reloads. */
  async lengthsSeen(): Promise<number[]> {
    const kept = await this.page.evaluate<string>(`(keepSeen(), sessionStorage.getItem("seen") ?? "[]")`);
    return JSON.parse(kept);
  }

  /** The conversation's id, from the address. */
  get conversation(): string {
    return new URLSearchParams(new URL(this.page.url()).hash.slice(1)).get("c") ?? "";
  }
}

export async function expectAccessible(page: Page): Promise<void> {
  const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  // What is still moving into its place has other colours.
  await until(
    () => page.evaluate("document.getAnimations().every((one) => one.effect.getTiming().iterations === Infinity)"),
    "all is in place",
  );
  await page.evaluate(axe);
  const violations = await page.evaluate<string[]>(
    `axe.run().then(({ violations }) => violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => id + ": " + html)))`,
  );
  expect(violations).toEqual([]);
}

/** Controls that can be seen and are too small to hit; a link in a text is as high as its line. */
export async function smallControls(page: Page): Promise<string[]> {
  return await page.evaluate<string[]>(`[...document.querySelectorAll("button, input, select, textarea, summary")]
    .filter((control) => control.checkVisibility({ visibilityProperty: true }))
    .map((control) => [control.getAttribute("aria-label") ?? control.textContent, control.getBoundingClientRect()])
    .filter(([, { width, height }]) => width < ${THUMB_PX - 0.5} || height < ${THUMB_PX - 0.5})
    .map(([name, { width, height }]) => name + " " + width + "x" + height)`);
}

/** Text as a reader has it: how a browser lays out blanks is another matter. */
export function squeezed(text: string): string {
  return text.replace(/\s+/g, "");
}

/** Runs in the page. Notes at each frame how much of the newest answer is shown. */
const watchAnswer = `
  const seen = [];
  window.keepSeen = () => {
    const before = JSON.parse(sessionStorage.getItem("seen") ?? "[]");
    sessionStorage.setItem("seen", JSON.stringify([...before, ...seen.splice(0)]));
  };
  const look = () => {
    const shown = [...document.querySelectorAll(".answer .prose")].at(-1);
    if (shown && seen.at(-1) !== shown.textContent.length) seen.push(shown.textContent.length);
    requestAnimationFrame(look);
  };
  look();
  addEventListener("pagehide", window.keepSeen);
`;
