/** The package's command, from the tarball of `npm pack`, in an empty folder with an empty home. */
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startDemoOrigin } from "../../demo/origin.ts";
import { freePort } from "../../tools/ports.ts";
import { within } from "../../tools/wait.ts";
import { RULES } from "../conformance/rules.ts";
import { Command } from "../support/command.ts";
import { installPackage } from "../support/installed-package.ts";
import { nodes } from "../support/nodes.ts";

const READY = "Ctrl-C here stops the gateway";
/** From the command to the welcome, where npm has nothing left to fetch; half a second on an idle machine. */
const READY_LIMIT_MS = 5_000;

describe("the package's command", () => {
  let folder: string;
  let home: string;
  let started: Command[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "holdfast-package-"));
    await installPackage(folder);
  });
  afterEach(async () => {
    await Promise.all(started.map((command) => command.signal("SIGKILL")));
    started = [];
    await rm(home, { recursive: true, force: true });
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  async function emptyHome(): Promise<string> {
    home = await mkdtemp(join(tmpdir(), "holdfast-home-"));
    return home;
  }

  function holdfast(args: string[], { node = process.execPath, env = {} }: { node?: string; env?: NodeJS.ProcessEnv }) {
    const bin = join(folder, "node_modules/.bin/holdfast");
    const command = new Command(node, [bin, ...args], { cwd: home, env: { HOME: home, XDG_DATA_HOME: "", ...env } });
    started.push(command);
    return command;
  }

  it.each(nodes())(
    "serves the demo within seconds on the Node at %s, and keeps its state in the home",
    async (node) => {
      const storage = join(await emptyHome(), ".local/share/holdfast");
      const port = await freePort();
      const begun = performance.now();
      const gateway = await holdfast(["--port", String(port)], { node }).readUntil(READY);
      const readyMs = performance.now() - begun;
      expect(gateway.stdout).toContain(`storage   ${join(".local/share/holdfast")}`);
      expect((await stat(storage)).mode & 0o777).toBe(0o700);
      const answer = await chat(port, (await readFile(join(storage, "api-key"), "utf8")).trim());
      expect(answer).toMatch(/^data: .*data: \[DONE\]\n\n$/s);
      console.log(
        `ready after ${readyMs.toFixed(0)} ms, whole answer after ${(performance.now() - begun).toFixed(0)} ms`,
      );
      expect(readyMs).toBeLessThan(READY_LIMIT_MS);
    },
  );

  it("keeps its state in $XDG_DATA_HOME where that is set, and issues keys from there", async () => {
    const data = join(await emptyHome(), "data");
    const port = await freePort();
    const env = { XDG_DATA_HOME: data };
    await holdfast(["start", "--port", String(port)], { env }).readUntil(READY);
    expect(await readdir(home)).toEqual(["data"]);
    const added = holdfast(["key", "add", "phone"], { env });
    expect(await within(added.exited, "its end")).toBe(0);
    expect(await chat(port, added.stdout.trim())).toContain("[DONE]");
  });

  it("names itself in what it prints, not npm's scripts", async () => {
    await emptyHome();
    const help = holdfast(["--help"], {});
    expect(await within(help.exited, "its end")).toBe(0);
    expect(help.stdout).toMatch(/^Usage: holdfast \[options\]/);
    expect(help.stdout).not.toContain("npm");
    const misused = holdfast(["--prot", "1"], {});
    expect(await within(misused.exited, "its end")).toBe(2);
    expect(misused.stderr).toContain("holdfast --help shows the options.");
  });

  it("tells whether a server keeps the protocol's rules, by a table and its exit code", async () => {
    await emptyHome();
    const origin = await startDemoOrigin({ paceMs: 1, apiKey: "origin-key" });
    try {
      const kept = holdfast(["conformance", "--url", origin.url, "--key", "origin-key"], {});
      expect(await within(kept.exited, "its end", 60_000), kept.stdout).toBe(0);
      expect(kept.stdout.match(/^ {2}ok /gm)).toHaveLength(RULES.length);
      const refused = holdfast(["conformance", "--url", origin.url, "--key", "another"], {});
      expect(await within(refused.exited, "its end", 60_000)).toBe(1);
      expect(refused.stdout).toMatch(/^ {2}NO .*POST with an id streams/m);
    } finally {
      await origin.close();
    }
    const nobody = holdfast(["conformance", "--url", `http://127.0.0.1:${await freePort()}`], {});
    expect(await within(nobody.exited, "its end")).toBe(2);
    expect(nobody.stderr).toMatch(/^holdfast: No server answers on .*ECONNREFUSED/);
  });

  it("says which commands there are when it is given another", async () => {
    await emptyHome();
    const command = holdfast(["toString"], {});
    expect(await within(command.exited, "its end")).toBe(2);
    expect(command.stderr).toMatch(/^holdfast: No such command: toString\. There are start, key/);
  });
});

async function chat(port: number, key: string): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
    method: "POST",
    headers: { Authorization: `Bearer ${key}` },
    body: JSON.stringify({ messages: [{ role: "user", content: "hi" }], stream: true, max_tokens: 3 }),
  });
  return await answer.text();
}
