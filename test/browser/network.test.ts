/** The page as a phone in the same network opens it: plain HTTP, on an address that browsers do not take for secure. */
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { networkInterfaces } from "node:os";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { launchChromium } from "../../tools/chromium.ts";
import { KEY, Site } from "../support/site.ts";
import { HoldfastPage, PHONE } from "./holdfast-page.ts";

const address = Object.values(networkInterfaces())
  .flatMap((list) => list ?? [])
  .find(({ family, internal }) => family === "IPv4" && !internal)?.address;

let browser: Browser;
let site: Site;
let relay: Server;

beforeAll(async () => {
  browser = await launchChromium();
  site = await Site.start({ paceMs: 20 });
  const { port } = site.gateway;
  relay = createServer((client) => {
    const gateway = connect(port, "127.0.0.1");
    client.pipe(gateway).pipe(client);
    client.on("error", () => gateway.destroy());
    gateway.on("error", () => client.destroy());
  });
  await new Promise<void>((done) => relay.listen(0, address, done));
});
afterAll(async () => {
  await browser.close();
  relay.close();
  await site.close();
});

describe.runIf(address)("a phone in the same network", () => {
  it("signs in by a link, asks, reloads, stops, and copies, without a secure context", async () => {
    const { port } = relay.address() as AddressInfo;
    const url = `http://${address}:${port}`;
    const opened = await HoldfastPage.open(browser, { url, fragment: `key=${KEY}`, context: PHONE });
    const { page } = opened;
    await page.getByLabel("Your question").waitFor();
    expect(await page.evaluate("isSecureContext")).toBe(false);

    await opened.ask("Tell me about the sea");
    await opened.moreText();
    await page.reload();
    await opened.moreText();
    await opened.button("Stop").tap();
    await page.getByText("Stopped", { exact: true }).waitFor();
    await page.locator(".answer").getByRole("button", { name: "Copy" }).tap();
    await page.getByRole("button", { name: "Conversations" }).tap();
    await page.getByRole("button", { name: "Settings" }).tap();
    await page.getByText("This is plain HTTP").waitFor();
    await opened.close();
  });
});
