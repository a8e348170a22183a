/**
 * scripts/bootstrap.mjs in a checkout of its own, with a script in npm's place: what it asks of npm, and what it says.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { OutputTail } from "../../tools/child-process.ts";
import { until, within } from "../../tools/wait.ts";

const LOCK = { packages: { "": {}, "node_modules/tool": { version: "1.0.0", integrity: "sha512-x" } } };

/**
 * Installs the one package as soon as the file `go` is there, and writes down that it was asked. The last file comes in one
 * step: that of an install that was killed goes on beside the next.
 */
const NPM = `#!/bin/sh
echo "$*" >> asked
case "$*" in
  ping*) cat ping >&2; [ -e reachable ]; exit ;;
  *--offline*) exit 1 ;;
esac
while [ ! -e go ]; do sleep 0.01; done
mkdir -p node_modules/tool
echo '{}' > node_modules/tool/package.json
cp package-lock.json installed.$$ && mv installed.$$ node_modules/.package-lock.json
if [ -e full ]; then cat full >&2; fi
`;

let folder: string;
let started: ChildProcess[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-install-"));
  for (const name of ["scripts", "tools", "bin"]) mkdirSync(join(folder, name));
  for (const file of ["scripts/bootstrap.mjs", "tools/npm-install.mjs"]) {
    copyFileSync(resolve(import.meta.dirname, "../..", file), join(folder, file));
  }
  writeFileSync(join(folder, "package-lock.json"), JSON.stringify(LOCK));
  writeFileSync(join(folder, "bin/npm"), NPM);
  chmodSync(join(folder, "bin/npm"), 0o755);
  say("ping", "npm notice PING http://registry/");
  say("reachable", "");
});
afterEach(async () => {
  for (const child of started) child.kill("SIGKILL");
  await Promise.all(started.map((child) => child.exitCode ?? child.signalCode ?? once(child, "exit")));
  started = [];
  await rm(folder, { recursive: true, force: true });
});

function say(file: string, text: string): void {
  writeFileSync(join(folder, file), text);
}

/** How often npm was asked to install. */
function installs(): number {
  const asked = existsSync(join(folder, "asked")) ? readFileSync(join(folder, "asked"), "utf8") : "";
  return asked.split("\n").filter((line) => line.startsWith("ci ")).length;
}

function bootstrap() {
  const env = { ...process.env, PATH: [join(folder, "bin"), process.env.PATH].join(delimiter) };
  const child = spawn(process.execPath, [join(folder, "scripts/bootstrap.mjs")], { env, cwd: tmpdir() });
  started.push(child);
  const output = new OutputTail().follow(child.stdout, child.stderr);
  return { child, output, exited: once(child, "close").then(([code]) => Number(code)) };
}

describe("the first start", () => {
  it("installs once, where two are started at the same time, and the next one asks npm nothing", async () => {
    const first = bootstrap();
    await until(() => installs() === 1, "npm is asked to install");
    const second = bootstrap();
    await until(() => second.output.text.includes("another install is running here"), "the second one waits");
    say("go", "");
    expect(await within(Promise.all([first.exited, second.exited]), "both ends")).toEqual([0, 0]);
    expect(installs()).toBe(1);
    expect(await within(bootstrap().exited, "the third one's end")).toBe(0);
    expect(installs()).toBe(1);
  });

  it("takes over from an install that was killed", async () => {
    const first = bootstrap();
    await until(() => installs() === 1, "npm is asked to install");
    first.child.kill("SIGKILL");
    await first.exited;
    const second = bootstrap();
    await until(() => installs() === 2, "npm is asked once more", 20_000);
    say("go", "");
    expect(await within(second.exited, "the second one's end", 20_000)).toBe(0);
  });

  it("ends with what is missing where the registry cannot be reached, without waiting for npm", async () => {
    await rm(join(folder, "reachable"));
    say("ping", "npm notice PING http://registry/\nnpm error code ENOTFOUND\n");
    const { output, exited } = bootstrap();
    expect(await within(exited, "its end")).toBe(1);
    expect(output.text).toContain("http://registry/ cannot be reached (ENOTFOUND)");
    expect(installs()).toBe(2);
    expect(readFileSync(join(folder, "asked"), "utf8")).toContain("--offline");
  });

  it("is not taken for done where the disk was full and npm said so in passing", async () => {
    say("go", "");
    say("full", "npm warn tar TAR_ENTRY_ERROR ENOSPC: no space left on device, write\n");
    const full = bootstrap();
    expect(await within(full.exited, "its end")).toBe(1);
    expect(full.output.text).toContain("holdfast: Cannot install the tools: the disk is full. npm said:");
    await rm(join(folder, "full"));
    expect(await within(bootstrap().exited, "the next one's end")).toBe(0);
    expect(installs()).toBe(2);
  });

  it("takes a registry that answers a ping with an error for one that is there", async () => {
    await rm(join(folder, "reachable"));
    say("ping", "npm error code E404\n");
    const { exited } = bootstrap();
    await until(() => installs() === 1, "npm is asked to install");
    say("go", "");
    expect(await within(exited, "its end")).toBe(0);
  });
});
