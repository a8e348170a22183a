/** The page against an origin that says what is written here: thinking, pictures, and everything that is hostile. */
import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { launchChromium } from "../../tools/chromium.ts";
import { until } from "../../tools/wait.ts";
import { KEY, Site } from "../support/site.ts";
import {
  expectAccessible,
  HoldfastPage,
  type OpenOptions,
  PHONE,
  SMALL_PHONE,
  smallControls,
} from "./holdfast-page.ts";
import { type ScriptedAnswer, type ScriptedOrigin, startScriptedOrigin } from "./scripted-origin.ts";

const KELP = `Three things hold a kelp:

1. **The holdfast**, *on the rock*.
2. The stipe.

## How strong?

\`\`\`python
print("strong", ${"1_000 + ".repeat(30)}1)
\`\`\`

| part | job |
| --- | --- |
| holdfast | grips |

> It holds. [More](https://example.org/kelp)`;

const HOSTILE = `<script>window.hit = 1</script> <img src=x onerror="window.hit = 2"> <style>*{display:none}</style>

[click](javascript:window.hit=3) [data](data:text/html,<script>window.hit=4</script>) <javascript:window.hit=5>
[blank]( javascript:window.hit=6) [case](JaVaScRiPt:window.hit=7) [file](file:///etc/passwd) [view](view-source:http://x/)

![pixel](https://tracker.example/pixel.png) ![p](http://127.0.0.1:1/x.png) [![in](https://tracker.example/in.png)](https://example.org)

\`\`\`"><img src=x onerror=window.hit=8>
</code></pre><script>window.hit=9</script>
\`\`\`

<iframe src="https://tracker.example"></iframe> <form action="https://tracker.example"><input></form>`;

const ANSWERS: Readonly<Record<string, ScriptedAnswer>> = {
  kelp: { thinking: "The holdfast first. Then the rest.", text: KELP },
  hostile: { text: HOSTILE },
  long: { text: `${"A line of a long answer.\n\n".repeat(150)}The end.`, paceMs: 1 },
  "broken off": { text: "Half of", isCut: true },
  slow: { thinking: "Slowly now. ".repeat(5), text: "word ".repeat(400), paceMs: 25 },
};

const DISTANCE_TO_END = `(({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight)(document.querySelector(".scroller"))`;

let browser: Browser;
let origin: ScriptedOrigin;
let site: Site;
const pages: HoldfastPage[] = [];

beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser.close());
beforeEach(async () => {
  origin = await startScriptedOrigin((question) => ANSWERS[question] ?? { text: `You said: ${question}` });
  site = await Site.start({
    vars: { RECONNECT_SECONDS: "1" },
    behind: { url: origin.url, close: () => origin.kill() },
  });
});
afterEach(async () => {
  try {
    for (const page of pages.splice(0)) await page.close();
  } finally {
    await site.close();
  }
});

describe("an answer", () => {
  it("is markdown: headings, lists, tables, links, and code with a button that copies it", async () => {
    const { page } = await asked("kelp");

    expect(await page.locator(".prose strong").textContent()).toBe("The holdfast");
    expect(await page.locator(".prose h3").textContent()).toBe("How strong?");
    expect((await page.locator(".prose td").allTextContents()).map((text) => text.trim())).toEqual([
      "holdfast",
      "grips",
    ]);
    expect(await page.locator(".prose a").getAttribute("href")).toBe("https://example.org/kelp");
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.getByRole("button", { name: "Copy", exact: true }).and(page.locator(".copy-code")).click();
    await page.getByText("Copied").waitFor();
    expect(await page.evaluate("navigator.clipboard.readText()")).toContain('print("strong", 1_000');
  });

  it("is followed to its end while it is written, unless its reader scrolls up", async () => {
    const { page } = await open({ context: PHONE });
    const ask = async (question: string) => {
      await page.getByLabel("Your question").fill(question);
      await page.getByRole("button", { name: "Send" }).click();
    };
    await ask("long");
    await page.locator(".answer:not(.live)").waitFor();
    const toEnd = page.getByRole("button", { name: "To the newest" });
    await page.getByText("The end.").waitFor();
    expect(await page.evaluate(DISTANCE_TO_END)).toBeLessThan(60);
    expect(await toEnd.isVisible()).toBe(false);

    await ask("slow");
    await page.locator(".answer.live .prose").getByText("word").waitFor();
    await page.evaluate(`document.querySelector(".scroller").scrollTop = 100`);
    await toEnd.waitFor();
    const shown = await page.locator(".answer.live .prose").textContent();
    await until(async () => (await page.locator(".answer.live .prose").textContent()) !== shown, "it grows");
    expect(await page.evaluate(`document.querySelector(".scroller").scrollTop`)).toBe(100);
    await toEnd.tap();
    await toEnd.waitFor({ state: "hidden" });
  });

  it("has its thinking folded away, also after a reload in the middle of it", async () => {
    const { page } = await open();
    await page.getByLabel("Your question").fill("slow");
    await page.getByRole("button", { name: "Send" }).click();
    await page.getByText("Thinking …").waitFor();
    await page.reload();
    await page.getByText("Thoughts").waitFor();

    expect(await page.getByText("Slowly now.").isVisible()).toBe(false);
    await page.getByText("Thoughts").click();
    expect(await page.locator(".thinking-text").textContent()).toBe("Slowly now. ".repeat(5));
  });

  it("is thought about until its first word is there", async () => {
    const { page } = await open();
    await page.getByLabel("Your question").fill("slow");
    await page.getByRole("button", { name: "Send" }).click();
    await page.getByText("Thinking …").waitFor();
    await page.locator(".answer.live .prose").getByText("word").waitFor();
    await page.locator(".answer.live").getByText("Thoughts").waitFor();
  });

  it("that is hostile does nothing: it runs no script, asks no host, and links nowhere but to the web", async () => {
    const { page } = await asked("hostile");
    for (const link of await page.locator(".prose a").all()) {
      expect((await link.getAttribute("href")) ?? "https:").toMatch(/^(?:https?|mailto):/);
      await link.evaluate((element) => element.removeAttribute("target"));
      if ((await link.getAttribute("href")) === null) await link.click({ force: true });
    }

    expect(await page.evaluate("window.hit")).toBeUndefined();
    expect(await page.locator(".prose :is(script, img, iframe, style, form)").count()).toBe(0);
  });
});

describe("an answer that is not whole", () => {
  it("says that the server was lost, keeps what had come, and says so after a reload too", async () => {
    const { page } = await answering();
    await origin.kill();
    await page.getByText("The server could not be reached for too long, or has lost this answer.").waitFor();
    const text = await page.locator(".prose").textContent();
    expect(text).toContain("word word");
    await page.reload();
    await page.getByText("What had come is here.").waitFor();
    expect(await page.locator(".prose").textContent()).toBe(text);
    expect(await page.locator(".answer.live").count()).toBe(0);
  });

  it("says that the server broke off", async () => {
    const { page } = await asked("broken off");
    await page.getByText("The server ended this answer before it was complete.").waitFor();
    expect(await page.locator(".prose").textContent()).toBe("Half of");
  });

  it("says so on the device that is told only at the end, too", async () => {
    const first = await asked("broken off");
    const { page } = await open({ fragment: `key=${KEY}&c=${first.conversation}` });
    await page.getByText("The server ended this answer before it was complete.").waitFor();
  });

  it("says that a newer question took the conversation over, and shows that one's answer", async () => {
    const first = await answering();
    const body = { messages: [{ role: "user", content: "newer" }], stream: true };
    const answer = await site.chat(first.conversation, body).answer;
    expect((await answer.whole(30_000)).toString()).toContain("newer");
    await first.page.getByText("A newer question took the conversation over").waitFor();
    await first.page.getByText("You said: newer").waitFor();
  });

  async function answering(): Promise<HoldfastPage> {
    const opened = await open();
    await opened.ask("slow");
    await opened.page.locator(".answer.live .prose").getByText("word word").waitFor();
    return opened;
  }
});

describe("a picture", () => {
  it("is scaled to 1,536 pixels and sent with the question", async () => {
    const { page } = await open();
    await page.getByLabel("Attach a picture").waitFor();
    await page
      .getByLabel("Pictures")
      .setInputFiles({ name: "big.png", mimeType: "image/png", buffer: await bigPicture(page) });
    await page.locator(".picture-preview").waitFor();
    await page.getByLabel("Your question").fill("What is this?");
    await page.getByRole("button", { name: "Send" }).click();
    await page.getByText("You said: What is this?").waitFor();

    const content = origin.asked[0]?.messages[0]?.content;
    const url = Array.isArray(content) ? content.find(({ type }) => type === "image_url")?.image_url?.url : undefined;
    expect(url).toMatch(/^data:image\/jpeg;base64,/);
    expect(await sizeOf(page, url ?? "")).toEqual([1_536, 768]);
    expect(await page.locator(".bubble img").count()).toBe(1);
  });
});

describe("the history", () => {
  it("is exported as JSON, and imported on a device that has only the link", async () => {
    const first = await asked("kelp");
    const saved = first.page.waitForEvent("download");
    await first.page.getByRole("button", { name: "Settings" }).click();
    await first.page.getByRole("button", { name: "Export" }).click();
    const file = await (await saved).path();

    const second = await open({ context: PHONE, fragment: `key=${KEY}&c=${first.conversation}` });
    await second.page.getByText("The earlier messages are on the device").waitFor();
    await second.page.getByRole("button", { name: "Conversations" }).click();
    await second.page.getByRole("button", { name: "Settings" }).click();
    await second.page.getByLabel("File to import").setInputFiles(file);
    await second.page.getByText("One conversation came in").waitFor();
    expect(await second.page.locator(".question .bubble").textContent()).toBe("kelp");
    expect(await second.page.locator(".answer").count()).toBe(1);
  });
});

describe("the page", () => {
  for (const [name, context] of Object.entries({ "on a phone": PHONE, "on a desktop": {} })) {
    for (const colorScheme of ["light", "dark"] as const) {
      it(`${name}, ${colorScheme}, has nothing that axe-core objects to`, async () => {
        const { page } = await asked("kelp", { context: { ...context, colorScheme } });
        await expectAccessible(page);
        if (context === PHONE) await page.getByRole("button", { name: "Conversations" }).click();
        await expectAccessible(page);
        await page.getByRole("button", { name: "Settings" }).click();
        await expectAccessible(page);
        await page.keyboard.press("Escape");
        await page.getByRole("button", { name: "Usage" }).click();
        await page.getByRole("heading", { name: "Your usage" }).waitFor();
        await expectAccessible(page);
      });
    }
  }

  it("at 320 pixels scrolls only downwards, and all its controls are as large as a thumb", async () => {
    const { page } = await asked("kelp", { context: SMALL_PHONE });
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(320);
    expect(await smallControls(page)).toEqual([]);
    await page.getByRole("button", { name: "Conversations" }).tap();
    await page.getByRole("button", { name: "New conversation" }).waitFor();
    expect(await smallControls(page)).toEqual([]);
  });

  it("on a phone shows the whole name of a short model, and its head's buttons also offline", async () => {
    const { page, context } = await open({ context: SMALL_PHONE, models: ["reef-9b", "another"] });
    await page.getByLabel("Model").waitFor();
    const [shown, whole] = await page.evaluate<number[]>(`["", "none"].map((maxWidth) => {
      const select = document.querySelector(".model select");
      select.style.maxWidth = maxWidth;
      return select.getBoundingClientRect().width;
    })`);
    expect(shown).toBe(whole);
    await context.setOffline(true);
    await page.getByText("You are offline").waitFor();
    for (const name of ["Conversations", "Continue on another device"]) {
      await page.getByRole("button", { name }).click({ trial: true });
    }
  });

  it("is used by keyboard alone", async () => {
    const { page } = await open();
    await page.getByLabel("Your question").focus();
    await page.keyboard.type("hello");
    await page.keyboard.press("Enter");
    await page.getByText("You said: hello").waitFor();
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Shift+Tab");
    expect(await page.evaluate("document.activeElement.getAttribute('aria-label') !== null")).toBe(true);
  });

  it("opens without the network once it was there", async () => {
    const opened = await asked("kelp");
    const { page, context } = opened;
    await page.evaluate("navigator.serviceWorker.ready.then(() => true)");
    await until(() => page.evaluate("navigator.serviceWorker.controller !== null"), "the worker has the page");
    await context.setOffline(true);
    await page.reload();
    await page.getByText("You are offline").waitFor();
    expect(await page.locator(".question .bubble").textContent()).toBe("kelp");
  });
});

async function open(options: Partial<OpenOptions> = {}): Promise<HoldfastPage> {
  const page = await HoldfastPage.open(browser, { url: site.front.url, fragment: `key=${KEY}`, ...options });
  pages.push(page);
  await page.page.getByLabel("Your question").waitFor();
  return page;
}

async function asked(question: string, options: Partial<OpenOptions> = {}): Promise<HoldfastPage> {
  const page = await open(options);
  await page.ask(question);
  await page.whenDone();
  return page;
}

/** 3,000 × 1,500, drawn by the browser itself. */
async function bigPicture(page: HoldfastPage["page"]): Promise<Buffer> {
  const url = await page.evaluate<string>(`(() => {
    const canvas = document.createElement("canvas");
    canvas.width = 3000;
    canvas.height = 1500;
    canvas.getContext("2d").fillRect(10, 10, 500, 500);
    return canvas.toDataURL("image/png");
  })()`);
  return Buffer.from(url.slice(url.indexOf(",") + 1), "base64");
}

async function sizeOf(page: HoldfastPage["page"], url: string): Promise<number[]> {
  return await page.evaluate<number[]>(
    `new Promise((done) => { const image = new Image(); image.onload = () => done([image.width, image.height]); image.src = ${JSON.stringify(url)}; })`,
  );
}
