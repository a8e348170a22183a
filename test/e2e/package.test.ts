/** The package's command, from the tarball of `npm pack`, in an empty folder with an empty home. */

import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { createServer, type Server, request as send } from "node:http";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startDemoOrigin } from "../../demo/origin.ts";
import { ROOT } from "../../tools/bundle.ts";
import { freePort } from "../../tools/ports.ts";
import { within } from "../../tools/wait.ts";
import { TOPICS } from "../conformance/rules.ts";
import { Command } from "../support/command.ts";
import { installPackage, putWorkerdBeside } from "../support/installed-package.ts";
import { nodes } from "../support/nodes.ts";

const READY = "Ctrl-C here stops the gateway";
/** From the command to the welcome, where npm has nothing left to fetch; half a second, if nothing else runs here. */
const READY_LIMIT_MS = 10_000;

describe("the package's command", () => {
  let folder: string;
  let home: string;
  let started: Command[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "holdfast-package-"));
    await installPackage(folder);
    // That it comes otherwise is in first-start.test.ts.
    await putWorkerdBeside(folder);
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

  it("tells its version", async () => {
    await emptyHome();
    const version = holdfast(["--version"], {});
    expect(await within(version.exited, "its end")).toBe(0);
    const manifest = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"));
    expect(version.stdout).toBe(`${manifest.version}\n`);
  });

  it("below npx names the file that npx was given, which works as it is printed", async () => {
    await emptyHome();
    const tarball = (await readdir(folder)).find((name) => name.endsWith(".tgz")) ?? "";
    const env = { npm_lifecycle_event: "npx" };
    const help = holdfast(["--help"], { env });
    expect(await within(help.exited, "its end")).toBe(0);
    expect(help.stdout).toMatch(`Usage: npx ${relative(home, join(folder, tarball))} [options]`);
    const beside = new Command(process.execPath, ["node_modules/.bin/holdfast", "conformance"], { cwd: folder, env });
    expect(await within(beside.exited, "its end")).toBe(2);
    expect(beside.stderr).toContain(`npx ./${tarball} conformance --help shows the options.`);
  });

  describe("conformance", () => {
    const everyRule = TOPICS.flatMap(({ rules }) => rules);
    let origin: Awaited<ReturnType<typeof startDemoOrigin>>;
    beforeEach(async () => {
      await emptyHome();
      origin = await startDemoOrigin({ paceMs: 1, apiKey: "a-key,another-key" });
    });
    afterEach(() => origin.close());

    function conformance(...args: string[]): Command {
      return holdfast(["conformance", "--url", origin.url, ...args], {});
    }

    it("runs every rule that it is given the means for, and prints a table", async () => {
      const args = ["conformance", "--url", origin.url];
      const command = holdfast(args, { env: { HOLDFAST_KEY: "a-key", HOLDFAST_OTHER_KEY: "another-key" } });
      expect(await within(command.exited, "its end", 60_000), command.stdout).toBe(0);
      const forTheSuite = everyRule.filter(({ needs }) => needs?.includes("suite"));
      expect(command.stdout.match(/^ {2}ok /gm)).toHaveLength(everyRule.length - forTheSuite.length);
      expect(command.stdout.match(/^ {2}-- /gm)).toHaveLength(forTheSuite.length);
      expect(command.stdout).toMatch(
        /\d+ were not run \(--\); one may need more than one thing:\n {2}\d+ need servers made for it/,
      );
    });

    it("exits with 1 where a rule is broken, and says how", async () => {
      const gateway = createServer((request, answer) => {
        // A proxy that takes the id off: nothing can be replayed.
        const { "x-conversation-id": _, ...headers } = request.headers;
        const { method, url: path } = request;
        const { hostname: host, port } = new URL(origin.url);
        const asked = send({ host, port, method, path, headers }, (given) => {
          given.pipe(answer.writeHead(given.statusCode ?? 0, given.headers));
        });
        request.pipe(asked);
      });
      await once(gateway.listen(0, "127.0.0.1"), "listening");
      try {
        const url = `http://127.0.0.1:${portOf(gateway)}`;
        const args = ["--url", url, "--key", "a-key", "--only", "replay: a replay is the POST's body"];
        const command = holdfast(["conformance", ...args], {});
        expect(await within(command.exited, "its end", 60_000)).toBe(1);
        expect(command.stdout).toMatch(/^ {2}NO .*a replay is the POST's body, .*\n {6}The bodies part at 0/m);
        expect(command.stdout).toMatch(/^0 of 1 rules hold on http/m);
      } finally {
        gateway.close();
      }
    });

    it("exits with 2 where the server refuses the key, or is not there", async () => {
      const refused = conformance("--key", "a-wrong-key");
      expect(await within(refused.exited, "its end")).toBe(2);
      expect(refused.stderr).toMatch(/^holdfast: .* does not answer a chat request: 401 .*Invalid API Key/);
      const nobody = holdfast(["conformance", "--url", `http://127.0.0.1:${await freePort()}`], {});
      expect(await within(nobody.exited, "its end")).toBe(2);
      expect(nobody.stderr).toMatch(/^holdfast: No server answers on .*ECONNREFUSED/);
    });
  });

  it("is what examples/Containerfile installs, as a user that is not root, and starts on the folder of its volume", async () => {
    const storage = join(await emptyHome(), "data");
    const steps = (await readFile(join(ROOT, "examples/Containerfile"), "utf8")).split("\n");
    const tarball = (await readdir(folder)).find((name) => name.endsWith(".tgz"));
    const install = steps.findIndex((step) => step.startsWith("RUN npm install"));
    expect(steps[install]).toBe(`RUN npm install --no-audit --no-fund ./${tarball} \\`);
    expect(steps[install + 1]).toBe("  && node_modules/.bin/holdfast install && rm -r .npm");
    expect(steps.indexOf("USER node")).toBeLessThan(install);
    const workerd = holdfast(["install"], {});
    expect(await within(workerd.exited, "its end")).toBe(0);
    expect(steps).toContain(`COPY --chown=node:node ${tarball} ./`);
    const entrypoint = steps.find((step) => step.startsWith("ENTRYPOINT "))?.replace("ENTRYPOINT ", "") ?? "";
    const volume = steps.find((step) => step.startsWith("VOLUME "))?.replace("VOLUME ", "") ?? "";
    const [command = "", ...args]: string[] = JSON.parse(entrypoint.replace(volume, storage));
    const container = new Command(command, [...args, "--port", String(await freePort())], {
      cwd: folder,
      env: { HOME: home },
    });
    started.push(container);
    await container.readUntil(READY);
    expect(await readdir(home)).toEqual(["data"]);
  });

  it("says which commands there are when it is given another", async () => {
    await emptyHome();
    const command = holdfast(["toString"], {});
    expect(await within(command.exited, "its end")).toBe(2);
    expect(command.stderr).toMatch(/^holdfast: No such command: toString\. There are start, key/);
  });
});

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

async function chat(port: number, key: string): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
    method: "POST",
    headers: { Authorization: `Bearer ${key}` },
    body: JSON.stringify({ messages: [{ role: "user", content: "hi" }], stream: true, max_tokens: 3 }),
  });
  return await answer.text();
}
