/** A real Chromium: Debian's package, or the one that CHROMIUM names. None is downloaded. */
import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

export async function launchChromium(): Promise<Browser> {
  const executablePath = process.env.CHROMIUM ?? PLACES.find((path) => existsSync(path));
  if (executablePath === undefined) throw new Error("No Chromium. Debian: apt-get install chromium; or set CHROMIUM");
  return await chromium.launch({
    executablePath,
    // Chromium's sandbox refuses to run as root, as CI does.
    args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
    // Playwright switches off what a user's browser has.
    ignoreDefaultArgs: ["--disable-back-forward-cache"],
  });
}
