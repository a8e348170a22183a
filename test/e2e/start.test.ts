/**
 * `npm start` as a user meets it: what it prints is read, and the commands that it prints are run as they are.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { freePort } from "../../tools/ports.ts";
import { until, within } from "../../tools/wait.ts";
import { startOrigin, type TestOrigin } from "../support/origin.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const READY = "Ctrl-C here stops the gateway";
const DONE = "data: [DONE]\n\n";
const USUAL_LLAMA_SERVER = "http://127.0.0.1:8080";

/** A command in a process group of its own, and what it printed. */
class Command {
  stdout = "";
  stderr = "";
  readonly exited: Promise<number | null>;
  readonly #child: ChildProcess;

  constructor(file: string, args: string[]) {
    // What the user's shell has set would change what is tested.
    const { API_KEYS: _, ORIGIN_API_KEY: __, ...env } = process.env;
    this.#child = spawn(file, args, { cwd: ROOT, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
    });
    this.exited = once(this.#child, "close").then(([code]) => code);
  }

  get pid(): number {
    return this.#child.pid ?? Number.NaN;
  }

  async readUntil(text: string): Promise<this> {
    await until(() => {
      if (this.stdout.includes(text)) return true;
      if (this.#child.exitCode === null) return false;
      throw new Error(
        `It ended with ${this.#child.exitCode}, without printing "${text}": ${this.stdout}${this.stderr}`,
      );
    }, `it prints "${text}"`);
    return this;
  }

  /** As Ctrl-C in a terminal: everybody in the foreground gets it. */
  interrupt(): void {
    process.kill(-this.pid, "SIGINT");
  }

  /** One signal to the one process that was started, as by a service manager; returns its exit code. */
  async signal(name: NodeJS.Signals): Promise<number | null> {
    this.#child.kill(name);
    return await within(this.exited, `its end after ${name}`);
  }
}

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
    expect(gateway.stdout).toContain("starting the demo origin, whose answers are canned");
    expect(gateway.stdout).toMatch(/origin {4}the built-in demo, no model: its answers are canned\./);
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
    const again = shell(resume);
    expect(await within(again.exited, "the end of the replay")).toBe(0);
    expect(again.stdout).toBe(short.stdout);
  });

  it("with another key refuses the one of before; what that had started goes on, and belongs to the same tenant", async () => {
    origin = await startOrigin({ paceMs: 10 });
    const before = await ready("--origin", origin.url, "--key", "sk-before");
    const [ask, resume] = printedCommands(before);
    const cut = shell(ask);
    await cut.readUntil("data: ");
    await before.signal("SIGTERM");
    await cut.exited;

    const after = await ready("--origin", origin.url, "--key", "sk-after");
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
    const gateway = await ready("--origin", origin.url, "--key", "my own key".replaceAll(" ", "'"));
    expect(gateway.stdout).toContain(`origin    ${origin.url}`);
    expect(gateway.stdout).not.toMatch(/demo|canned|warning|API key/);
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
    expect(gateway.stdout).toContain(`warning: ${nowhere} does not answer now; requests fail until it does`);
    const asked = shell(printedCommands(gateway)[0]);
    expect(await within(asked.exited, "the gateway's answer", 30_000)).toBe(0);
    expect(JSON.parse(asked.stdout)).toMatchObject({ error: { code: 502, type: "origin_unreachable" } });
  });

  it.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)("%s leaves no process, and the port is free", async (signal) => {
    const gateway = await ready();
    const processes = descendants(gateway.pid);
    expect(processes.length).toBeGreaterThan(1);
    const answer = shell(printedCommands(gateway)[0]);
    await answer.readUntil("data: ");
    await gateway.signal(signal);
    await until(() => processes.every(isGone), "all its processes are gone");
    await answer.exited;
    await expect(fetch(`http://127.0.0.1:${port}/health`)).rejects.toThrow();
  });

  it("killed with SIGKILL leaves no process either", async () => {
    const gateway = await ready();
    const processes = descendants(gateway.pid);
    await gateway.signal("SIGKILL");
    await until(() => processes.every(isGone), "all its processes are gone");
  });

  it("on a port that is taken says so, and names another one", async () => {
    await ready();
    const second = start();
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
    const command = start(...args);
    expect(await within(command.exited, "its end")).toBe(2);
    expect(command.stderr).toContain(`holdfast: `);
    expect(command.stderr).toContain(message);
    expect(command.stderr).toContain("npm start -- --help shows the options.");
    expect(command.stdout).toBe("");
  });

  it("--help lists the options", async () => {
    const command = start("--help");
    expect(await within(command.exited, "its end")).toBe(0);
    for (const option of ["--origin", "--origin-key", "--port", "--key", "--storage"]) {
      expect(command.stdout).toContain(option);
    }
  });
});

function start(...args: string[]): Command {
  const given = ["--port", String(port), "--storage", storage, ...args];
  const command = new Command("node", ["scripts/bootstrap.mjs", "scripts/start.ts", ...given]);
  started.push(command);
  return command;
}

async function ready(...args: string[]): Promise<Command> {
  return await start(...args).readUntil(READY);
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
