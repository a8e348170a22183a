/** The commands of README.md and docs/operations.md, run as they are printed there, against `npm start`. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OutputTail } from "../../tools/child-process.ts";
import { freePort } from "../../tools/ports.ts";
import { until, within } from "../../tools/wait.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const READY = "Ctrl-C here stops the gateway";

let storage: string;
let port: number;
let gateway: ChildProcess;

beforeAll(async () => {
  storage = await mkdtemp(join(tmpdir(), "holdfast-docs-"));
  port = await freePort();
  const output = new OutputTail();
  const args = ["scripts/bootstrap.mjs", "scripts/start.ts", "--port", String(port), "--storage", storage];
  gateway = spawn(process.execPath, args, { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
  output.follow(gateway.stdout, gateway.stderr);
  await until(() => output.text.includes(READY), "npm start is ready", 60_000);
});

afterAll(async () => {
  gateway.kill("SIGINT");
  await within(once(gateway, "exit"), "the gateway's end");
  await rm(storage, { recursive: true, force: true });
});

describe("the commands of", () => {
  it("README.md start an answer and read all of it", async () => {
    const [ask = "", replay = ""] = commandsOf("README.md", "Try it in a minute", "curl");
    const asked = await run(ask);
    expect(asked).toMatch(/^data: /);
    expect(asked).toMatch(/data: \[DONE\]\n\n$/);
    expect(await run(replay)).toBe(asked);
  });

  it("docs/operations.md make, change, list and remove keys", async () => {
    const [add = "", ...later] = commandsOf("docs/operations.md", undefined, "npm run key");
    expect(await run(add)).toMatch(/^hf_alice_[\w-]{44}\n$/);
    const printed = new Map<string, string>();
    for (const command of later) printed.set(command, await run(command));
    expect(printed.size).toBeGreaterThan(6);
    const alice = printed.get("npm run key -- list alice");
    expect(alice).toMatch(/^alice {2}0 running, 0 bytes stored, limits: live 2, models qwen\*,gemma\*\n/);
    expect(alice).toMatch(/\n {2}phone {2}made .*, never used, until .*, limits: rpm 20, body 1048576\n$/);
  });

  it("docs/operations.md show usage", async () => {
    const commands = commandsOf("docs/operations.md", "Usage", "curl");
    expect(commands).toHaveLength(2);
    for (const command of commands) {
      expect(JSON.parse(await run(command))).toMatchObject({ object: "page", has_more: false });
    }
  });
});

/** Of the fenced blocks below a heading, or of the whole page: whole commands, lines that go on joined. */
function commandsOf(page: string, heading: string | undefined, program: string): string[] {
  const text = readFileSync(join(ROOT, page), "utf8");
  const part = heading === undefined ? text : text.split(`\n## ${heading}\n`)[1]?.split("\n## ")[0];
  return [...(part ?? "").matchAll(/```sh\n([\s\S]*?)```/g)]
    .flatMap(([, block = ""]) => block.replaceAll("\\\n", " ").split("\n"))
    .filter((line) => line.startsWith(program));
}

/** With this test's gateway in place of the usual one; gives what it prints. */
async function run(command: string): Promise<string> {
  const here = command
    .replaceAll("http://127.0.0.1:8787", `http://127.0.0.1:${port}`)
    .replaceAll(".holdfast/", `${storage}/`)
    .replace("npm run key --", `node scripts/bootstrap.mjs scripts/key.ts --storage ${storage}`);
  const child = spawn("sh", ["-c", here], { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
  const printed = new OutputTail().follow(child.stdout);
  const errors = new OutputTail().follow(child.stderr);
  const [code] = await within(once(child, "close"), command, 60_000);
  expect(code, `${command}\n${errors.quote()}`).toBe(0);
  return printed.text;
}
