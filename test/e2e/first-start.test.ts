/** The package's first start on a machine without workerd: how it comes, and what is said where it cannot. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, test as base, beforeAll, describe, expect } from "vitest";
import { freePort } from "../../tools/ports.ts";
import { until, within } from "../../tools/wait.ts";
import { Command } from "../support/command.ts";
import { installPackage, pinnedWorkerd, putWorkerdBeside } from "../support/installed-package.ts";
import { nodes } from "../support/nodes.ts";
import { WorkerdRegistry } from "../support/workerd-registry.ts";

const READY = "Ctrl-C here stops the gateway";
const ASKED_FOR = `installing workerd ${pinnedWorkerd()}`;
/** Nobody listens there. */
const NO_REGISTRY = "http://127.0.0.1:9";
/** 10 s on a machine that does nothing else; half as long again beside other tests. */
const OFFLINE_LIMIT_MS = 15_000;

/** A home and an app of its own, in which nothing is but the package, and a registry. */
class Machine {
  readonly home: string;
  readonly registry: WorkerdRegistry;
  #started: Command[] = [];

  constructor(home: string, registry: WorkerdRegistry) {
    this.home = home;
    this.registry = registry;
  }

  /** Where the package keeps workerd. */
  get folder(): string {
    return join(this.home, ".local/share/holdfast/workerd");
  }

  holdfast(args: string[], { node = process.execPath, env = {} }: { node?: string; env?: NodeJS.ProcessEnv } = {}) {
    const bin = join(this.home, "app/node_modules/holdfast/lib/holdfast.js");
    const npm = { npm_config_registry: this.registry.url, npm_config_cache: join(this.home, ".npm") };
    const command = new Command(node, [bin, ...args], {
      cwd: this.home,
      env: { HOME: this.home, XDG_DATA_HOME: "", ...npm, ...env },
    });
    this.#started.push(command);
    return command;
  }

  /** On a free port; with a storage folder of its own where another one runs on the usual one. */
  async start(options: { node?: string; env?: NodeJS.ProcessEnv; storage?: string } = {}): Promise<Command> {
    const storage = options.storage === undefined ? [] : ["--storage", join(this.home, options.storage)];
    return this.holdfast(["--port", String(await freePort()), ...storage], options);
  }

  /** In place of npm. */
  npm(script: string): NodeJS.ProcessEnv {
    mkdirSync(join(this.home, "bin"));
    writeFileSync(join(this.home, "bin/npm"), `#!/bin/sh\n${script}\n`);
    chmodSync(join(this.home, "bin/npm"), 0o755);
    return { PATH: join(this.home, "bin") };
  }

  async close(): Promise<void> {
    await Promise.all(this.#started.map((command) => command.signal("SIGKILL")));
    await this.registry.close();
    await rm(this.home, { recursive: true, force: true, maxRetries: 3 });
  }
}

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-first-start-"));
  await installPackage(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The package as it is published, but for the one file that names what is in our registry. */
async function machineWith(registry: WorkerdRegistry): Promise<Machine> {
  const home = await mkdtemp(join(tmpdir(), "holdfast-home-"));
  const place = join(home, "app/node_modules/holdfast");
  cpSync(join(folder, "node_modules/holdfast"), place, { recursive: true });
  writeFileSync(join(place, "lib/workerd-lock.json"), JSON.stringify(registry.lock));
  return new Machine(home, registry);
}

const it = base.extend<{ machine: Machine }>({
  machine: async ({ onTestFinished }, use) => {
    const machine = await machineWith(await WorkerdRegistry.start());
    onTestFinished(() => machine.close());
    await use(machine);
  },
});

describe.concurrent("the first start", () => {
  for (const node of nodes()) {
    it(`installs workerd, once and for good, and says what it does, on the Node at ${node}`, async ({ machine }) => {
      const first = await (await machine.start({ node })).readUntil(READY);
      expect(first.stdout).toMatch(
        `holdfast: ${ASKED_FOR}, which runs the gateway, into ${machine.folder}/${pinnedWorkerd()}, once:\n` +
          "holdfast: some 45 MB to download, 145 MB on disk …\n",
      );
      expect(readdirSync(machine.folder)).toEqual([pinnedWorkerd()]);
      await first.signal("SIGTERM");
      const env = { npm_config_registry: NO_REGISTRY };
      const second = await (await machine.start({ node, env })).readUntil(READY);
      expect(second.stdout).not.toContain("installing");
      expect(machine.registry.downloads).toBe(1);
    });
  }

  it("removes older ones, when the new one has been seen to work", async ({ machine }) => {
    for (const name of ["1.20251231.0", "1.99991231.0", "not-ours"])
      mkdirSync(join(machine.folder, name, "a"), { recursive: true });
    machine.registry.hold();
    const command = await machine.start();
    await until(() => machine.registry.waiting === 1, "the binary is asked for");
    expect(readdirSync(machine.folder)).toContain("1.20251231.0");
    machine.registry.release();
    await command.readUntil(READY);
    expect(readdirSync(machine.folder)).toEqual([pinnedWorkerd(), "1.99991231.0", "not-ours"].toSorted());
  });

  it("is one download where two start at once", async ({ machine }) => {
    machine.registry.hold();
    const first = await machine.start();
    await until(() => machine.registry.waiting === 1, "the binary is asked for");
    const second = await machine.start({ storage: "second" });
    await second.readUntil("another install is running here, waiting for it …");
    machine.registry.release();
    await Promise.all([first.readUntil(READY), second.readUntil(READY)]);
    expect(machine.registry.downloads).toBe(1);
  });

  it("killed in the middle leaves no npm behind, and the next one begins afresh", async ({ machine }) => {
    machine.registry.hold();
    const killed = await machine.start();
    await until(() => machine.registry.waiting === 1, "the binary is asked for");
    await killed.signal("SIGKILL");
    await until(() => machine.registry.waiting === 0, "npm is gone");
    expect(readdirSync(machine.folder)).not.toContain(pinnedWorkerd());
    machine.registry.release();
    await (await machine.start()).readUntil(READY);
    expect(readdirSync(machine.folder)).toEqual([pinnedWorkerd()]);
  });

  it("stopped with Ctrl-C in the middle leaves nothing", async ({ machine }) => {
    machine.registry.hold();
    const command = await machine.start();
    await until(() => machine.registry.waiting === 1, "the binary is asked for");
    command.interrupt();
    expect(await within(command.exited, "its end")).toBe(130);
    expect(command.stdout).toMatch(/\nholdfast: stopped\.\n$/);
    await until(() => machine.registry.waiting === 0, "npm is gone");
    expect(readdirSync(machine.folder)).toEqual([]);
  });

  it("takes workerd from beside it where that is the right version, and no other", async ({ machine }) => {
    const app = join(machine.home, "app");
    await putWorkerdBeside(app, "1.20251231.0");
    const other = machine.holdfast(["install"]);
    expect(await within(other.exited, "its end", 30_000), other.stderr).toBe(0);
    expect(other.stdout.trim().startsWith(machine.folder)).toBe(true);
    await rm(join(app, "node_modules/workerd"), { recursive: true });
    await rm(machine.folder, { recursive: true });
    await putWorkerdBeside(app);
    const right = machine.holdfast(["install"]);
    expect(await within(right.exited, "its end")).toBe(0);
    expect(existsSync(machine.folder)).toBe(false);
    expect(machine.registry.downloads).toBe(1);
  });

  it("installs its own where the one beside it lacks its binary", async ({ machine }) => {
    const app = join(machine.home, "app");
    await putWorkerdBeside(app);
    writeFileSync(join(app, "node_modules/workerd/index.js"), 'throw new Error("The package could not be found");\n');
    const command = machine.holdfast(["install"]);
    expect(await within(command.exited, "its end", 30_000), command.stderr).toBe(0);
    expect(command.stdout.trim().startsWith(machine.folder)).toBe(true);
  });
});

describe.concurrent("without a network the first start", () => {
  it("ends at once where nothing answers; a later one shows the key as a first one does", async ({ machine }) => {
    const begun = performance.now();
    const command = await machine.start({ env: { npm_config_registry: NO_REGISTRY } });
    expect(await within(command.exited, "its end", OFFLINE_LIMIT_MS)).toBe(1);
    console.log(`offline, refused: ${((performance.now() - begun) / 1000).toFixed(1)} s`);
    expect(command.stderr).toContain(
      `holdfast: Cannot install workerd ${pinnedWorkerd()}: ${NO_REGISTRY}/ cannot be reached (ECONNREFUSED), and npm's ` +
        "cache does not hold all of it.\nIs there a network, or a proxy that npm needs",
    );
    expect(command.stderr).not.toContain("    at ");
    expect(readdirSync(machine.folder)).toEqual([]);
    const next = await (await machine.start()).readUntil(READY);
    expect(next.stdout).toMatch(/\/#key=sk-holdfast-[0-9a-f]{32}\n/);
  });

  it("ends within ten seconds where connections are swallowed, with a sign of life meanwhile", async ({ machine }) => {
    const hole = await BlackHole.open();
    try {
      const begun = performance.now();
      const command = await machine.start({ env: { npm_config_registry: hole.url } });
      expect(await within(command.exited, "its end", OFFLINE_LIMIT_MS)).toBe(1);
      console.log(`offline, swallowed: ${((performance.now() - begun) / 1000).toFixed(1)} s`);
      expect(command.stdout).toMatch(/still installing after \d s, waiting for npm: 0 of some 145 MB are here/);
      expect(command.stderr).toContain(`${hole.url}/ cannot be reached (no answer within 7 s)`);
    } finally {
      hole.close();
    }
  });
});

describe.concurrent("the first start says what is wrong, and what to do,", () => {
  async function failure(command: Command): Promise<string> {
    expect(await within(command.exited, "its end", 30_000)).toBe(1);
    expect(command.stderr).toContain(`Where workerd@${pinnedWorkerd()} is installed beside holdfast`);
    return command.stderr;
  }

  it("where there is no npm", async ({ machine }) => {
    const command = await machine.start({ env: { PATH: machine.home } });
    expect(await failure(command)).toMatch(
      /^holdfast: Cannot run npm, which installs workerd .*: there is no npm on PATH\.\n/,
    );
  });

  it("where the disk is full", async ({ machine }) => {
    // As npm 11 does: only a line says it, and its exit code is 0.
    const full = "npm warn tar TAR_ENTRY_ERROR ENOSPC: no space left on device, write";
    const env = machine.npm(`[ "$1" = ping ] || echo "${full}" >&2`);
    expect(await failure(await machine.start({ env }))).toContain(
      `Cannot install workerd ${pinnedWorkerd()}: the disk is full. npm said:\n\n${full}\n`,
    );
    expect(readdirSync(machine.folder)).toEqual([]);
  });

  it("where its folder cannot be written", async ({ machine }) => {
    const file = join(machine.home, "file");
    writeFileSync(file, "");
    const command = await machine.start({ env: { XDG_DATA_HOME: file }, storage: "elsewhere" });
    expect(await failure(command)).toMatch(
      /Cannot install workerd .*: ENOTDIR.*\nIt goes into .*\(XDG_DATA_HOME says where\)/,
    );
  });

  it("where the registry sends something else than what was tested", async ({ machine }) => {
    const published = readFileSync(join(folder, "node_modules/holdfast/lib/workerd-lock.json"), "utf8");
    const [tested] = Object.values(JSON.parse(published).binaries);
    const [[name, ours] = []] = Object.entries(machine.registry.lock.binaries);
    const { integrity } = Object(tested);
    const lock = { ...machine.registry.lock, binaries: { [`${name}`]: { ...ours, integrity } } };
    writeFileSync(join(machine.home, "app/node_modules/holdfast/lib/workerd-lock.json"), JSON.stringify(lock));
    // npm asks twice more, after 10 and after 60 s.
    const env = { npm_config_fetch_retries: "0" };
    expect(await failure(await machine.start({ env }))).toContain("what the registry sent is not what was published");
    expect(readdirSync(machine.folder)).toEqual([]);
  });

  it("where workerd does not run", async ({ onTestFinished }) => {
    const machine = await machineWith(
      await WorkerdRegistry.start("#!/bin/sh\necho GLIBC_2.35 not found >&2; exit 1\n"),
    );
    onTestFinished(() => machine.close());
    expect(await failure(await machine.start())).toMatch(
      /does not run on this machine: GLIBC_2.35 not found\nIt needs glibc 2\.35 or newer on Linux/,
    );
    expect(readdirSync(machine.folder)).toEqual([]);
  });
});

describe.concurrent("workerd is not asked for", () => {
  it.for([
    [["--help"], 0],
    [["--version"], 0],
    [["key", "list"], 1],
    [["conformance", "--help"], 0],
    [["--prot", "1"], 2],
  ] as const)("by holdfast %s", async ([args, code], { onTestFinished }) => {
    const machine = await machineWith(await WorkerdRegistry.start());
    onTestFinished(() => machine.close());
    const command = machine.holdfast([...args]);
    expect(await within(command.exited, "its end"), command.stderr).toBe(code);
    expect(existsSync(machine.folder)).toBe(false);
  });
});

/** An address at which no connection is ever made, as behind a firewall that says nothing. */
class BlackHole {
  readonly url: string;
  readonly #process: ChildProcess;
  readonly #queued: Socket[];

  /** A process that listens and never accepts, with so many in its queue that the system answers no more. */
  static async open(): Promise<BlackHole> {
    const script = `const { createServer } = require("node:net");
      const server = createServer().listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {
        console.log(server.address().port);
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
      });`;
    const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
    const [port] = await once(child.stdout, "data");
    return new BlackHole(child, Number(port));
  }

  private constructor(child: ChildProcess, port: number) {
    this.url = `http://127.0.0.1:${port}`;
    this.#process = child;
    this.#queued = Array.from({ length: 4 }, () => connect(port, "127.0.0.1").on("error", () => {}));
  }

  close(): void {
    for (const socket of this.#queued) socket.destroy();
    this.#process.kill("SIGKILL");
  }
}
