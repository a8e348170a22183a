/**
 * `npm start` as a user meets it: what it prints is read, and the commands that it prints are run as they are.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startDemoOrigin } from "../../demo/origin.ts";
import { freePort } from "../../tools/ports.ts";
import { until, within } from "../../tools/wait.ts";
import { Command } from "../support/command.ts";
import { startOrigin, type TestOrigin } from "../support/origin.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const READY = "Ctrl-C here stops the gateway";
const DONE = "data: [DONE]\n\n";
const USUAL_LLAMA_SERVER = "http://127.0.0.1:8080";

let storage: string;
let port: number;
let origin: TestOrigin | undefined;
let started: Command[] = [];

beforeAll(async () => {
  if (spawnSync("curl", ["--version"]).error) {
    throw new Error("These tests run the curl commands that npm start prints: install curl");
  }
  const found = await fetch(`${USUAL_LLAMA_SERVER}/health`).catch(() => undefined);
  if (found?.headers.get("server") === "llama.cpp") {
    throw new Error(`npm start takes the llama-server on ${USUAL_LLAMA_SERVER}; these tests need it to be stopped`);
  }
});
beforeEach(async () => {
  storage = await mkdtemp(join(tmpdir(), "holdfast-start-"));
  port = await freePort();
});
afterEach(async () => {
  for (const command of started) await command.signal("SIGTERM");
  started = [];
  await origin?.kill();
  origin = undefined;
  await rm(storage, { recursive: true, force: true });
});

describe("npm start", () => {
  it("without a llama-server says that it is a demo; its first curl streams, its second goes on where that was cut", async () => {
    const gateway = await ready();
    expect(gateway.stdout).toContain("starting the demo origin, whose answers are pre-written");
    expect(gateway.stdout).toMatch(/origin {4}the built-in demo, no model: its answers are pre-written\./);
    const [ask, resume] = printedCommands(gateway);

    const first = shell(ask);
    await first.readUntil("data: ");
    await until(() => first.stdout.length > 2_000, "the answer streams");
    first.interrupt();
    await first.exited;
    expect(first.stdout).not.toContain("[DONE]");

    const second = shell(resume);
    expect(await within(second.exited, "the end of the answer", 60_000)).toBe(0);
    expect(second.stdout.startsWith(first.stdout)).toBe(true);
    expect(second.stdout.endsWith(DONE)).toBe(true);
    expect(new Set(second.stdout.match(/"id":"[^"]+"/g)).size).toBe(1);
  });

  it("the next time keeps the key, does not show it again, and still has the conversation", async () => {
    const before = await ready();
    const key = readFileSync(join(storage, "api-key"), "utf8").trim();
    expect(key).toMatch(/^sk-holdfast-[0-9a-f]{32}$/);
    expect(before.stdout).toContain(key);
    const [ask, resume] = printedCommands(before);
    const short = shell(ask.replace('"max_tokens":200', '"max_tokens":5'));
    expect(await within(short.exited, "the end of the answer")).toBe(0);
    expect(short.stdout.endsWith(DONE)).toBe(true);
    expect(await before.signal("SIGTERM")).toBe(143);

    const after = await ready();
    expect(readFileSync(join(storage, "api-key"), "utf8").trim()).toBe(key);
    expect(after.stdout + after.stderr).not.toContain(key);
    expect(printedCommands(after)).toEqual([ask, resume]);
    const link = shell(/^ *(echo .*)$/m.exec(after.stdout)?.[1] ?? "");
    await link.exited;
    expect(link.stdout.trim()).toMatch(new RegExp(`^http://127\\.0\\.0\\.1:\\d+/#key=${key}$`));
    const again = shell(resume);
    expect(await within(again.exited, "the end of the replay")).toBe(0);
    expect(again.stdout).toBe(short.stdout);
  });

  it("with another key refuses the one of before; what that had started goes on, and belongs to the same tenant", async () => {
    origin = await startOrigin({ paceMs: 10 });
    const before = await ready("--origin", origin.url, "--key", "sk-before-this-start");
    const [ask, resume] = printedCommands(before);
    const cut = shell(ask);
    await cut.readUntil("data: ");
    await before.signal("SIGTERM");
    await cut.exited;

    const after = await ready("--origin", origin.url, "--key", "sk-after-that-start");
    const refused = shell(resume);
    await refused.exited;
    expect(JSON.parse(refused.stdout)).toMatchObject({ error: { code: 401, type: "authentication_error" } });
    const found = shell(printedCommands(after)[1]);
    expect(await within(found.exited, "the end of the answer")).toBe(0);
    expect(found.stdout.startsWith(cut.stdout)).toBe(true);
    expect(found.stdout.endsWith(DONE)).toBe(true);
  });

  it("--origin puts it in front of that llama-server", async () => {
    origin = await startOrigin();
    const gateway = await ready("--origin", origin.url, "--key", "my$own&key<with>*signs");
    expect(gateway.stdout).toContain(`origin    ${origin.url}`);
    expect(gateway.stdout).not.toMatch(/demo|pre-written|warning|API key/);
    const [ask, resume] = printedCommands(gateway);
    const first = shell(ask);
    expect(await within(first.exited, "the end of the answer", 60_000)).toBe(0);
    expect(first.stdout.endsWith(DONE)).toBe(true);
    expect(await origin.generations(200)).toBe(1);
    const second = shell(resume);
    expect(await second.exited).toBe(0);
    expect(second.stdout).toBe(first.stdout);
  });

  it("--origin of a server that is not there yet is a warning", async () => {
    const nowhere = `http://127.0.0.1:${await freePort()}`;
    const gateway = await ready("--origin", nowhere);
    expect(gateway.stdout).toContain(
      `warning: nothing listens on ${new URL(nowhere).host} (connection refused); requests fail until ${nowhere} answers`,
    );
    const asked = shell(printedCommands(gateway)[0]);
    expect(await within(asked.exited, "the gateway's answer", 30_000)).toBe(0);
    expect(JSON.parse(asked.stdout)).toMatchObject({ error: { code: 502, type: "origin_unreachable" } });
  });

  it.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)(
    "%s leaves no process, says so, and the port is free",
    async (signal) => {
      const gateway = await ready();
      const processes = descendants(gateway.pid);
      expect(processes.length).toBeGreaterThan(1);
      const answer = shell(printedCommands(gateway)[0]);
      await answer.readUntil("data: ");
      await gateway.signal(signal);
      await until(() => processes.every(isGone), "all its processes are gone");
      expect(gateway.stdout).toMatch(/\nholdfast: stopped\. Answers that were running go on at the next start, .*\n$/);
      await answer.exited;
      await expect(fetch(`http://127.0.0.1:${port}/health`)).rejects.toThrow();
    },
  );

  it("killed with SIGKILL leaves no process either", async () => {
    const gateway = await ready();
    const processes = descendants(gateway.pid);
    await gateway.signal("SIGKILL");
    await until(() => processes.every(isGone), "all its processes are gone");
  });

  it("the demo's answer goes on after Ctrl-C and another start, with the same bytes", async () => {
    const before = await ready();
    const [ask] = printedCommands(before);
    const cut = shell(ask);
    await cut.readUntil("data: ");
    await until(() => cut.stdout.length > 2_000, "the answer streams");
    // In a terminal the script gets it twice: from there, and from what started it.
    before.interrupt();
    expect(await within(before.exited, "its end")).toBe(130);
    expect(before.stdout.match(/stopped\./g)).toHaveLength(1);
    await cut.exited;
    expect(cut.stdout).not.toContain("[DONE]");

    const after = await ready();
    const resumed = shell(printedCommands(after)[1]);
    expect(await within(resumed.exited, "the end of the answer", 60_000)).toBe(0);
    expect(resumed.stdout.startsWith(cut.stdout)).toBe(true);
    expect(resumed.stdout.endsWith(DONE)).toBe(true);
  });

  it("a second time on the same folder says at once where the first one is", async () => {
    const first = await ready();
    const second = start(["--port", String(await freePort())]);
    expect(await within(second.exited, "its end")).toBe(1);
    expect(second.stderr).toContain(`A gateway of this folder already runs at http://127.0.0.1:${port} (process`);
    expect(second.stdout).toBe("");
    expect(await first.signal("SIGTERM")).toBe(143);
  });

  it("keeps what it writes from other users of the machine, and removes what nothing is in", async () => {
    const first = await ready();
    const key = readFileSync(join(storage, "api-key"), "utf8").trim();
    const unknown = `http://127.0.0.1:${port}/v1/stream?conv_id=unknown&from=0`;
    const answer = await fetch(unknown, { headers: { Authorization: `Bearer ${key}` } });
    expect(answer.status).toBe(404);
    await first.signal("SIGTERM");
    const readable = readdirSync(storage, { recursive: true, withFileTypes: true })
      .filter((entry) => !entry.parentPath.includes("bundle") && entry.name !== "bundle")
      .map(({ name, parentPath }) => ({ name, mode: statSync(join(parentPath, name)).mode & 0o077 }))
      .filter(({ mode }) => mode !== 0);
    expect(readable).toEqual([]);
    expect(statSync(storage).mode & 0o777).toBe(0o700);

    await ready();
    const databases = readdirSync(join(storage, "state"), { recursive: true }).filter((name) =>
      /[0-9a-f]{64}/.test(`${name}`),
    );
    expect(databases).toEqual([]);
  });

  it("builds into its storage, not into the checkout, and can be started from any folder", async () => {
    const bundle = join(ROOT, "dist");
    const before = statSync(bundle, { throwIfNoEntry: false })?.mtimeMs;
    const command = new Command("node", [join(ROOT, "scripts/bootstrap.mjs"), "scripts/start.ts", ...place()], {
      cwd: tmpdir(),
    });
    started.push(command);
    await command.readUntil(READY);
    expect(statSync(bundle, { throwIfNoEntry: false })?.mtimeMs).toBe(before);
    expect(existsSync(join(storage, "bundle/index.js"))).toBe(true);
  });

  it.each([
    ["wants a key", undefined, "wants an API key: set --origin-key or ORIGIN_API_KEY"],
    ["refuses the given one", "wrong", "rejected the gateway's key (--origin-key / ORIGIN_API_KEY)"],
  ])("says so at the start when the origin %s", async (_, originKey, message) => {
    const demo = await startDemoOrigin({ apiKey: "right" });
    try {
      const gateway = await ready(
        "--origin",
        demo.url,
        ...(originKey === undefined ? [] : ["--origin-key", originKey]),
      );
      expect(gateway.stdout).toContain(`warning: ${demo.url} ${message}`);
    } finally {
      await demo.close();
    }
  });

  it("checks settings and the storage before it builds: one line, no stack", async () => {
    const keys = start([], { API_KEYS: "foo" });
    expect(await within(keys.exited, "its end")).toBe(2);
    expect(keys.stderr).toMatch(/^holdfast: API_KEYS must be .*\n$/);
    const setting = start([], { SESSION_TTL_SECONDS: "soon" });
    expect(await within(setting.exited, "its end")).toBe(2);
    expect(setting.stderr).toMatch(/^holdfast: SESSION_TTL_SECONDS must be a whole number .*, got "soon"\n$/);
    const file = join(storage, "file");
    writeFileSync(file, "");
    const onFile = start(["--storage", file]);
    expect(await within(onFile.exited, "its end")).toBe(2);
    expect(onFile.stderr).toBe(`holdfast: --storage ${file} is not a folder\n`);
    const below = start(["--storage", join(file, "below")]);
    expect(await within(below.exited, "its end")).toBe(1);
    expect(below.stderr).toMatch(/^holdfast: ENOTDIR.*--storage DIR\n$/);
  });

  it("on a port that is taken says so, and names another one", async () => {
    await ready();
    const second = start(["--storage", join(storage, "second")]);
    expect(await within(second.exited, "its end")).toBe(1);
    expect(second.stderr).toContain(
      `Port ${port} on 127.0.0.1 is in use. Another one: npm start -- --port ${port + 1}`,
    );
  });

  it.each([
    ["an option it does not know", ["--prot", "1"], "Unknown option '--prot'"],
    ["a port that is none", ["--port", "99999"], '--port must be a number from 1 to 65535, got "99999"'],
    ["an origin that is no URL", ["--origin", "localhost:8080"], "--origin must be an http or https URL"],
    ["itself as the origin", ["--port", "8790", "--origin", "http://localhost:8790"], "is this gateway itself"],
    ["a key with a blank", ["--key", "my key"], "--key must be printable ASCII without blanks and commas"],
    ["an option without its value", ["--origin"], "Option '--origin <value>' argument missing"],
    ["a word that is no option", ["8787"], "Unexpected argument '8787'"],
  ])("given %s exits 2 and says what is wrong", async (_, args, message) => {
    const command = start(args);
    expect(await within(command.exited, "its end")).toBe(2);
    expect(command.stderr).toContain(`holdfast: `);
    expect(command.stderr).toContain(message);
    expect(command.stderr).toContain("npm start -- --help shows the options.");
    expect(command.stdout).toBe("");
  });

  it("--help lists the options", async () => {
    const command = start(["--help"]);
    expect(await within(command.exited, "its end")).toBe(0);
    for (const option of ["--origin", "--origin-key", "--port", "--key", "--storage"]) {
      expect(command.stdout).toContain(option);
    }
  });
});

/** Where this test's gateway is. */
function place(): string[] {
  return ["--port", String(port), "--storage", storage];
}

function start(args: string[] = [], env: NodeJS.ProcessEnv = {}): Command {
  const command = new Command("node", ["scripts/bootstrap.mjs", "scripts/start.ts", ...place(), ...args], { env });
  started.push(command);
  return command;
}

async function ready(...args: string[]): Promise<Command> {
  return await start(args).readUntil(READY);
}

function shell(command: string): Command {
  return new Command("sh", ["-c", command]);
}

/** The two commands in the middle of what it printed, each up to its blank line. */
function printedCommands({ stdout }: Command): [ask: string, resume: string] {
  const [ask, resume, ...more] = stdout.split("\n\n").filter((paragraph) => /^ *curl /.test(paragraph));
  if (!ask || !resume || more.length > 0) throw new Error(`These are not two curl commands: ${stdout}`);
  return [ask, resume];
}

interface Process {
  pid: number;
  /** Together with the id this names a process for good. */
  startedAt: string;
}

/** A process and all that it started, as long as each still has its parent. */
function descendants(pid: number): Process[] {
  const all = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const children = all.map(Number).filter((child) => statOf(child)?.parent === pid);
  const startedAt = statOf(pid)?.startedAt ?? "";
  return [{ pid, startedAt }, ...children.flatMap(descendants)];
}

function isGone({ pid, startedAt }: Process): boolean {
  return statOf(pid)?.startedAt !== startedAt;
}

/** From the kernel's list; `undefined` for a process that is not there. A zombie has ended. */
function statOf(pid: number): { parent: number; startedAt: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // Behind the name in brackets, which may hold anything: state, parent, …, and the time of the start.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : { parent: Number(fields[1]), startedAt: fields[19] ?? "" };
  } catch {
    // It ended while we were looking.
    return undefined;
  }
}
