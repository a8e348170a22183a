/**
 * Every command of the pages that a user reads: run here as it is printed, or said to be what it is. A page says of a command
 * that it needs an account by ☁, or in README.md by its section.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OutputTail } from "../../tools/child-process.ts";
import { freePort } from "../../tools/ports.ts";
import { until, within } from "../../tools/wait.ts";
import { Command } from "../support/command.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const READY = "Ctrl-C here stops the gateway";
/** The options, the settings and the origins are in order: from here on all starts are the same. */
const UNDER_WAY = "building the Worker …";
const START_LIMIT_MS = 60_000;
const PAGES = [
  "README.md",
  ...readdirSync(join(ROOT, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
  // What it removes docs/operations.md has made.
  "SECURITY.md",
];

/** What is no command of a page's reader at a gateway's side, and why. */
const NOT_RUN: ReadonlyArray<[what: RegExp, why: string]> = [
  [/^npm (?:test|pack|ci|install)\b|^npm run (?:test:llama|audit)\b/, "has tests of its own, or is what runs them"],
  [/^(?:LLAMA_SERVER=\S+ )?npm run bench\b/, "takes an idle machine for minutes"],
  [/^npm run key$/, "is a name"],
  [/^npx (?:--no-audit )?\.\/holdfast-/, "fetches workerd; it is run by package.test.ts and first-start.test.ts"],
  [/^git (?:pull|revert)\b/, "changes the checkout"],
  [/^systemctl --user\b/, "wants a user's systemd; the unit is checked below"],
  [/^sudo cloudflared\b/, "wants root"],
  [/^tailscale\b/, "is another vendor's"],
  [/^ulimit\b/, "changes a shell's limits"],
];
const WANTS_ACCOUNT =
  /^npx wrangler\b|^(?:sudo )?cloudflared\b|^curl https:\/\/holdfast\.YOUR-SUBDOMAIN|^npm ci && npx wrangler/;

const PROGRAMS = ["npm", "npx", "curl", "du", "tail", "mkdir", "openssl", "git", "systemctl", "ulimit"];
const OTHERS = ["cloudflared", "sudo", "tailscale"];

interface Written {
  page: string;
  text: string;
  /** It is said to need an account. */
  marked: boolean;
}

const written = PAGES.flatMap(commandsOf);
const isNotRun = ({ text }: Written) => NOT_RUN.some(([what]) => what.test(text));
const isAccounts = ({ text }: Written) => WANTS_ACCOUNT.test(text);
const isStart = ({ text }: Written) => /\bnpm start\b/.test(text);
const isRun = (command: Written) => !isNotRun(command) && !isAccounts(command) && !isStart(command);

let home: string;
let storage: string;
let port: number;
let gateway: Command;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "holdfast-docs-"));
  storage = join(home, "storage");
  port = await freePort();
  gateway = await start("npm start", storage, port, READY);
});
afterAll(async () => {
  await stop(gateway);
  await rm(home, { recursive: true, force: true });
});

describe("a command of the documents", () => {
  const printed = new Map<string, string>();

  it("is found in them at all", () => {
    expect(written.filter(isRun).length).toBeGreaterThan(20);
    expect(written.filter(isStart).length).toBeGreaterThan(10);
  });

  it("is not run for a reason that still has a command", () => {
    for (const [what] of NOT_RUN) expect(written.filter(({ text }) => what.test(text)).length).toBeGreaterThan(0);
  });

  it.each(written.filter(isAccounts))("says that it needs an account: $page, $text", ({ marked }) => {
    expect(marked).toBe(true);
  });

  it.each(written.filter(isRun))("runs: $page, $text", async ({ text }) => {
    printed.set(text, await run(text));
  });

  it.each([...new Set(written.filter(isStart).map(({ text }) => text))])("starts a gateway: %s", async (text) => {
    if (text.endsWith("--help")) expect(await run(text)).toContain("Usage: npm start --");
    else await stop(await start(text, join(home, "another"), await freePort(), UNDER_WAY));
  });

  it("prints what its page says that it does", () => {
    const [ask = "", replay = ""] = written.flatMap(({ page, text }) =>
      page === "README.md" && text.startsWith("curl -N") ? [text] : [],
    );
    expect(printed.get(ask)).toMatch(/^data: .*data: \[DONE\]\n\n$/s);
    expect(printed.get(replay)).toBe(printed.get(ask));
    expect(printed.get("npm run key -- add alice")).toMatch(/^hf_alice_[\w-]{44}\n$/);
    expect(printed.get("npm run key -- list alice")).toMatch(/^alice {2}0 running, 0 bytes stored/);
    const usage = [...printed].filter(([text]) => text.includes("usage"));
    expect(usage).toHaveLength(2);
    for (const [, answer] of usage) expect(JSON.parse(answer)).toMatchObject({ object: "page", has_more: false });
  });
});

describe("examples/holdfast.service", () => {
  const unit = readFileSync(join(ROOT, "examples/holdfast.service"), "utf8");

  it("starts the gateway of a checkout in ~/holdfast", async () => {
    const [, command = ""] = /^ExecStart=(.*)$/m.exec(unit) ?? [];
    symlinkSync(ROOT, join(home, "holdfast"));
    const args = [...command.replaceAll("%h", home).split(" "), "--port", String(await freePort())];
    const service = new Command(args[0] ?? "", args.slice(1), { cwd: join(home, "holdfast"), env: { HOME: home } });
    await stop(await printing(service, UNDER_WAY));
  });

  it.runIf(spawnSync("systemd-analyze", ["--version"]).status === 0)("is one that systemd takes", () => {
    const runtime = join(home, "runtime");
    mkdirSync(runtime, { recursive: true });
    const copy = join(home, "holdfast.service");
    copyFileSync(join(ROOT, "examples/holdfast.service"), copy);
    const env = { ...process.env, XDG_RUNTIME_DIR: runtime, HOME: home };
    const { status, stderr } = spawnSync("systemd-analyze", ["--user", "verify", copy], { env, encoding: "utf8" });
    expect(stderr).toBe("");
    expect(status).toBe(0);
  });
});

/** In its order: lines of fenced blocks, and what stands in backticks with an argument at least. */
function commandsOf(page: string): Written[] {
  const text = readFileSync(join(ROOT, page), "utf8");
  const found: Written[] = [];
  const add = (command: string, index: number) => {
    const [bare = ""] = command.split(/ +#/);
    const [program] = bare
      .trim()
      .replace(/^(?:[A-Z_]+=(?:"[^"]*"|\S+) )+/, "")
      .split(" ");
    if (![...PROGRAMS, ...OTHERS].includes(program ?? "") || !/ /.test(bare.trim())) return;
    found.push({ page, text: bare.trim(), marked: isMarked(page, text, index) });
  };
  for (const match of text.matchAll(/```(\w*)\n([\s\S]*?)```|`([^`\n]+)`/g)) {
    const [, language, block = "", inline] = match;
    if (inline !== undefined) add(inline, match.index);
    else if (language === "sh") for (const line of block.replaceAll("\\\n", " ").split("\n")) add(line, match.index);
  }
  return found;
}

/** In the sentences before it, in its paragraph, list item or cell; README.md says it of a whole section. */
function isMarked(page: string, text: string, index: number): boolean {
  const before = text.slice(0, index);
  if (page === "README.md") return before.lastIndexOf("\n## ") === before.lastIndexOf("\n## On Cloudflare");
  return (before.split(/\n\n|\n- |\| /).at(-1) ?? "").includes("☁");
}

/** With this test's gateway, and what it keeps, in place of the usual one; gives what it prints. */
async function run(command: string): Promise<string> {
  const key = readFileSync(join(storage, "api-key"), "utf8").trim();
  const here = command
    .replaceAll("http://127.0.0.1:8787", gatewayUrl())
    .replaceAll("https://holdfast.YOUR-SUBDOMAIN.workers.dev", gatewayUrl())
    .replaceAll(".holdfast/", `${storage}/`)
    .replace("ADMIN_KEY=…", `ADMIN_KEY=${readFileSync(join(storage, "admin-key"), "utf8").trim()}`)
    .replace("remove TENANT --name NAME", "remove alice --name phone")
    .replace(/ URL(?= |$)/, ` ${gatewayUrl()}`)
    .replace(/^HOLDFAST_KEY=KEY npm run conformance.*/, `$& --only lookup`)
    .replace("HOLDFAST_KEY=KEY", `HOLDFAST_KEY=${key}`)
    // One that goes on prints what is there.
    .replace(/^tail -f/, "tail")
    // Its other steps need an account.
    .replace(/^npm run setup(?: --)?/, "npm run setup -- --dry-run")
    .replace("npm run key --", `node scripts/bootstrap.mjs scripts/key.ts --storage ${storage}`);
  const child = spawn("sh", ["-c", here], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, HOME: home, KEY: key, ORIGIN_URL: gatewayUrl() },
  });
  const output = new OutputTail().follow(child.stdout);
  const errors = new OutputTail().follow(child.stderr);
  const [code] = await within(once(child, "close"), command, 60_000);
  expect(code, `${command}\n${errors.quote()}`).toBe(0);
  return output.text;
}

function gatewayUrl(): string {
  return `http://127.0.0.1:${port}`;
}

/** As it is printed, in a place and on a port of its own; not on all addresses of this machine. */
async function start(command: string, place: string, ownPort: number, text: string): Promise<Command> {
  const here = command.replace("--host 0.0.0.0", "--host 127.0.0.2");
  const options = `${here.includes(" -- ") ? "" : " --"} --port ${ownPort} --storage ${place}`;
  return await printing(new Command("sh", ["-c", `${here}${options}`], { cwd: ROOT }), text);
}

async function printing(command: Command, text: string): Promise<Command> {
  await until(() => command.stdout.includes(text), `it prints "${text}"; ${command.stderr}`, START_LIMIT_MS);
  return command;
}

/** By Ctrl-C: the shell, npm and what they started get it. */
async function stop(command: Command): Promise<void> {
  command.interrupt();
  await within(command.exited, "its end");
}
