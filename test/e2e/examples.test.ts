/**
 * The examples, as printed, on a network that cuts every few hundred bytes: each prints the answer of an undisturbed reader,
 * and the origin was asked once. The browser's page is in test/browser.
 */
import { execFile, spawnSync } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { ROOT } from "../../tools/bundle.ts";
import { EXAMPLES, installExamples } from "../support/examples.ts";
import { saidIn } from "../support/said.ts";
import { KEY, Site } from "../support/site.ts";

const run = promisify(execFile);

/** As the examples ask for. */
const TOKENS = 200;

let site: Site;

beforeAll(installExamples);
beforeEach(async () => {
  site = await Site.start({ slots: 2, paceMs: 2 });
  site.front.faults = { cutAfterBytes: [500, 5_000], how: ["rst", "fin", "half"] };
});
afterEach(() => site.close());

it.each(["openai.mjs", "anthropic.mjs", "langchain.mjs"])("%s prints the whole answer", async (file) => {
  const printed = await runExample(process.execPath, file);
  expect(printed).toBe(`${await saidByOrigin(file)}\n`);
});

it("ai-sdk.mjs shows the whole answer after a reload in its middle", async () => {
  const printed = await runExample(process.execPath, "ai-sdk.mjs");
  const said = await saidByOrigin("ai-sdk.mjs");
  const [before = "", after] = printed.split(" …\n\n--- the page is reloaded ---\n\n");
  expect(before.length).toBeGreaterThan(200);
  expect(before.length).toBeLessThan(said.length);
  expect(said.startsWith(before)).toBe(true);
  expect(after).toBe(`${said}\n`);
});

it("curl.sh prints every byte of the answer once", async () => {
  const printed = await runExample("sh", "curl.sh");
  const all = await site.atOrigin("curl.sh");
  expect(saidIn(printed)).toBe(saidIn(all));
  expect(printed.endsWith("data: [DONE]\n\n")).toBe(true);
  expect(await site.origin.generations(TOKENS)).toBe(1);
});

// A developer's Python may lack it; CI installs it.
it.skipIf(!pythonWithHttpx() && !process.env.CI)("python-httpx.py prints the whole answer", async () => {
  const printed = await runExample(pythonWithHttpx() ?? "python3", "python-httpx.py");
  expect(printed).toBe(`${await saidByOrigin("python-httpx.py")}\n`);
});

/** What it prints. The prompt is the file's name, by which the answer is found at the origin. */
async function runExample(command: string, file: string): Promise<string> {
  const env = { ...process.env, HOLDFAST_URL: site.front.url, HOLDFAST_KEY: KEY };
  const { stdout } = await run(command, [join(EXAMPLES, file), file], { cwd: ROOT, env });
  expect(site.front.cuts).toBeGreaterThan(2);
  return stdout;
}

async function saidByOrigin(prompt: string): Promise<string> {
  expect(await site.origin.generations(TOKENS)).toBe(1);
  return saidIn(await site.atOrigin(prompt));
}

/** Debian's python3-httpx belongs to Debian's Python, which need not be the first on the PATH. */
function pythonWithHttpx(): string {
  const found = ["python3", "/usr/bin/python3"].find(
    (python) => spawnSync(python, ["-c", "import httpx"]).status === 0,
  );
  if (found === undefined) throw new Error("No Python has httpx. Debian: apt-get install python3-httpx");
  return found;
}
