/** The owner's view in a real Chromium: keys made, used, limited and removed, and what was used. */
import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { launchChromium } from "../../tools/chromium.ts";
import type { Answer } from "../support/http.ts";
import { chatBody, KEY, Site } from "../support/site.ts";
import { expectAccessible, HoldfastPage, PHONE, SMALL_PHONE, smallControls, squeezed } from "./holdfast-page.ts";

const ADMIN_KEY = "key-of-the-owner-for-tests";
const SECRETS = { ADMIN_KEY, KEY_SECRET: "a-secret-of-32-characters-or-more" };

let browser: Browser;
let site: Site;
const pages: HoldfastPage[] = [];

beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser.close());
beforeEach(async () => {
  site = await Site.start({ vars: SECRETS });
});
afterEach(async () => {
  try {
    for (const page of pages.splice(0)) await page.close();
  } finally {
    await site.close();
  }
});

describe("the owner", () => {
  it("makes a key, whose link signs a phone in, and removes it again", async () => {
    const { page } = await ownersView();
    await page.getByLabel("Person").fill("anna");
    await page.getByLabel("Key for").fill("phone");
    await page.getByRole("button", { name: "Make a key" }).click();
    await page.getByRole("img", { name: "The code of the sign-in link" }).waitFor();
    const key = (await page.locator(".key-text").textContent()) ?? "";
    await page.keyboard.press("Escape");

    const phone = await open(`key=${key}`, PHONE);
    await phone.ask("hello");
    await phone.whenDone();

    await page.getByRole("button", { name: "Remove the key phone of anna" }).click();
    await page.getByRole("button", { name: "Remove", exact: true }).click();
    await page.getByRole("button", { name: "Remove the key phone of anna" }).waitFor({ state: "detached" });
    await phone.ask("hello again");
    await phone.page.getByText("The gateway does not know this key any more").waitFor();
  });

  it("limits a person, who is told so", async () => {
    const { page } = await ownersView();
    const alice = page.locator(".person", { hasText: "alice" });
    await alice.getByRole("button", { name: "no limits" }).click();
    await page.getByLabel("Requests per minute").fill("1");
    await page.getByLabel("Bytes kept").fill("104857600");
    await page.getByRole("button", { name: "Save" }).click();
    await alice.getByRole("button", { name: "rpm 1, bytes 100 MiB" }).waitFor();

    const person = await open(`key=${KEY}`);
    await person.ask("one");
    await person.whenDone();
    await person.ask("two");
    await person.page.getByText("A limit of your key is reached").waitFor({ timeout: 60_000 });
  });

  for (const button of ["Answer again", "Look again"]) {
    it(`has a person whose "${button}", after a refusal, gets an answer of its own and not the one before`, async () => {
      const person = await open(`key=${KEY}`);
      const sessions: (string | null)[] = [];
      person.page.on("response", async (response) => {
        if (response.url().endsWith("/completions")) sessions.push(await response.headerValue("Holdfast-Session"));
      });
      await limitAlice(1);
      await person.ask("one");
      await person.whenDone();
      await person.button("Answer again").click();
      await person.page.getByText("A limit of your key is reached").waitFor({ timeout: 60_000 });
      await limitAlice(null);
      await person.button(button).click();
      await person.page.getByText("A limit of your key is reached").waitFor({ state: "detached" });
      await person.whenDone();
      expect(sessions).toEqual([expect.any(String), null, expect.any(String)]);
      expect(sessions[2]).not.toBe(sessions[0]);
    });
  }

  it("sees who is being answered, by what and where, and never what about", async () => {
    const long = await openLong("a-private-chat");
    const opened = await ownersView();
    const { page } = opened;
    const row = page.getByRole("region", { name: "Live answers" }).getByRole("listitem");
    await row.waitFor();
    expect(squeezed(await row.innerText())).toMatch(/^alice·API_KEYSqwen·default\d+s[1-9]?\d*KiB$/);
    expect(await page.content()).not.toContain("a-private-chat");
    const origin = page.getByRole("region", { name: "Origins" }).getByRole("listitem");
    await origin.getByText("1 live").waitFor();

    await site.stop("a-private-chat");
    await long.closed;
    await opened.button("Refresh: Live answers").click();
    await page.getByText("Nobody is being answered now.").waitFor();
    await opened.button("Refresh: Origins").click();
    await origin.getByText("Today 1: 1 stopped").waitFor();
    await origin.getByText("7 days 1: 1 stopped").waitFor();
  });

  it("sees the rest where the list of people, or somebody's record, does not answer", async () => {
    const away = { directory: "away", missing: ["anna"] };
    const origins = [{ name: "attic", state: "there", live: 2 }];
    const { page } = await ownersView({}, async ({ page }) => {
      await page.route("**/v1/admin/status", (route) => route.fulfill({ json: { origins, ...away } }));
      await page.route("**/v1/admin/sessions", (route) => route.fulfill({ json: { data: [], more: 0, ...away } }));
      await page.route("**/v1/admin/tenants/bob", (route) => route.fulfill({ status: 503, json: {} }));
    });
    for (const name of ["Live answers", "Origins"]) {
      const card = page.getByRole("region", { name });
      await card.getByText("Without those who were added here: the list of them did not answer.").waitFor();
      await card.getByText("Without anna: that record did not answer.").waitFor();
    }
    await page.getByRole("region", { name: "Origins" }).getByText("2 live").waitFor();
    await page.locator(".person", { hasText: "alice" }).waitFor();
    await page.getByText("Without bob: that record did not answer.").waitFor();
  });

  for (const [name, context] of Object.entries({ "on a small phone": SMALL_PHONE, "on a desktop": {} })) {
    for (const colorScheme of ["light", "dark"] as const) {
      it(`${name}, ${colorScheme}, has nothing on the page that axe-core or a thumb objects to`, async () => {
        await openLong("shown");
        const { page } = await ownersView({ ...context, colorScheme });
        await page.getByText("1 live").first().waitFor();
        await expectAccessible(page);
        expect(await page.evaluate("document.documentElement.scrollWidth - innerWidth")).toBe(0);
        expect(await smallControls(page)).toEqual([]);
      });
    }
  }

  it("is not everybody: a person sees their own usage, and a wrong admin key opens nothing", async () => {
    const { page } = await open(`key=${KEY}`);
    await page.getByLabel("Your question").fill("hello");
    await page.getByRole("button", { name: "Send" }).click();
    await page.locator(".answer:not(.live)").waitFor();
    await page.getByRole("button", { name: "Usage" }).click();
    await page.getByText("answers in 30 days").waitFor();
    expect(await page.locator(".tile-value").first().textContent()).toBe("1");
    await page.getByText("You run this gateway?").click();
    await page.getByLabel("Admin key").fill(KEY);
    await page.getByRole("button", { name: "Open" }).click();
    await page.getByText("That is not the admin key.").waitFor();
  });
});

async function limitAlice(rpm: number | null): Promise<void> {
  const init = {
    method: "PATCH",
    headers: { Authorization: `Bearer ${ADMIN_KEY}` },
    body: JSON.stringify({ limits: { rpm } }),
  };
  expect((await fetch(`${site.url}/v1/admin/tenants/alice`, init)).status).toBe(200);
}

/** An answer that goes on until it is stopped, of a site whose origin takes its time. */
async function openLong(id: string): Promise<Answer> {
  await site.close();
  site = await Site.start({ vars: SECRETS, paceMs: 50 });
  const answer = await site.chat(id, { ...chatBody("hello", 5_000), model: "qwen" }).answer;
  await answer.readUntil("data:");
  return answer;
}

async function ownersView(context = {}, before: (opened: HoldfastPage) => Promise<void> = async () => {}) {
  const opened = await open(`key=${KEY}&owner`, context);
  await before(opened);
  const { page } = opened;
  await page.getByText("You run this gateway?").click();
  await page.getByLabel("Admin key").fill(ADMIN_KEY);
  await page.getByRole("button", { name: "Open" }).click();
  await page.getByRole("heading", { name: "People and keys" }).waitFor();
  return opened;
}

async function open(fragment: string, context = {}): Promise<HoldfastPage> {
  const page = await HoldfastPage.open(browser, { url: site.front.url, fragment, context, body: { max_tokens: 10 } });
  pages.push(page);
  return page;
}
