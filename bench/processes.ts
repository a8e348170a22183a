/** Processes of the benchmark: starting, pinning to a CPU, asking over IPC, and what the kernel knows of their use. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { guard, OutputTail } from "../tools/child-process.ts";
import type { Call, Commands, Progress, Summary } from "./load.ts";

/** With two CPUs the gateway has one to itself, and nobody's time depends on who else is scheduled where. */
const CAN_PIN = process.platform === "linux" && availableParallelism() > 1 && spawnSync("taskset", ["-V"]).status === 0;
const GATEWAY_CPU = 1;
const LOAD_CPU = 0;

export const PINNING = CAN_PIN
  ? `gateway on CPU ${GATEWAY_CPU}, origin and load generator on CPU ${LOAD_CPU}`
  : "not pinned (no taskset, or one CPU)";

/** Puts a contestant's process, with all its threads, on the CPU of gateways. */
export function pinGateway(pid: number): void {
  if (CAN_PIN) spawnSync("taskset", ["-a", "-p", "-c", String(GATEWAY_CPU), String(pid)]);
}

/**
 * CPU time that these processes, all their threads, have used since they started, milliseconds. From the scheduler, in
 * nanoseconds: /proc/PID/stat counts in steps of 10 ms, and one conversation costs that in a second.
 */
export function cpuMs(pids: readonly number[]): number {
  const threads = pids.flatMap((pid) => readdirSync(`/proc/${pid}/task`).map((task) => `/proc/${pid}/task/${task}`));
  return threads.reduce((sum, thread) => {
    const [nanos] = readFileSync(`${thread}/schedstat`, "latin1").split(" ");
    return sum + Number(nanos) / 1e6;
  }, 0);
}

/** Resident memory now, and its highest so far, kB. */
export function memoryKb(pids: readonly number[]): { now: number; peak: number } {
  const sum = { now: 0, peak: 0 };
  for (const pid of pids) {
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    sum.now += Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0);
    sum.peak += Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0);
  }
  return sum;
}

/** A process that does not outlive us. Its output is shown when it ends before it was ended. */
export class Child {
  readonly process: ChildProcess;
  readonly exited: Promise<void>;
  readonly #output = new OutputTail();
  #isWanted = true;

  constructor(command: string, args: readonly string[], options: { env?: NodeJS.ProcessEnv; cpu?: number } = {}) {
    const line = CAN_PIN && options.cpu !== undefined ? ["taskset", "-c", String(options.cpu), command] : [command];
    const [program = command, ...rest] = [...line, ...args];
    this.process = spawn(program, rest, {
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      env: { ...process.env, ...options.env },
    });
    guard(this.process);
    this.#output.follow(this.process.stdout, this.process.stderr);
    this.exited = new Promise((done) => {
      this.process.once("error", () => done());
      this.process.once("close", () => done());
    });
    void this.exited.then(() => {
      if (this.#isWanted) console.error(`bench: ${command} ${args.join(" ")} ended by itself:\n${this.output}`);
    });
  }

  get pid(): number {
    if (this.process.pid === undefined) throw new Error(`Cannot start ${this.process.spawnfile}`);
    return this.process.pid;
  }

  get hasExited(): boolean {
    return this.process.exitCode !== null || this.process.signalCode !== null;
  }

  get output(): string {
    return this.#output.text;
  }

  async kill(): Promise<void> {
    this.#isWanted = false;
    this.process.kill("SIGKILL");
    await this.exited;
  }
}

interface Reply {
  id: number;
  value?: unknown;
  error?: string;
}

/** One of our own scripts: it says `{id: 0, value}` when it is ready, then answers each message by its id. */
export class Helper extends Child {
  readonly ready: Promise<unknown>;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #asked = 0;

  constructor(script: string, options: { args?: readonly string[]; cpu?: number; env?: NodeJS.ProcessEnv } = {}) {
    super(process.execPath, [join(import.meta.dirname, script), ...(options.args ?? [])], options);
    this.ready = new Promise((resolve, reject) => this.#waiting.set(0, { resolve, reject }));
    this.process.on("message", ({ id, value, error }: Reply) => {
      const asker = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) asker?.resolve(value);
      else asker?.reject(new Error(error));
    });
    void this.exited.then(() => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`${script} ended: ${this.output}`));
      this.#waiting.clear();
    });
  }

  async ask(name: string, args: unknown): Promise<unknown> {
    if (this.hasExited) throw new Error(`${this.process.spawnargs.join(" ")} has ended: ${this.output}`);
    const id = ++this.#asked;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.process.send({ id, name, args });
    });
  }
}

export class OriginProcess {
  readonly #helper = new Helper("origin.ts", { cpu: LOAD_CPU });

  /** Its base URL. */
  async started(): Promise<string> {
    return String(await this.#helper.ready);
  }

  /** Events written so far. */
  async sent(): Promise<number> {
    return Number(await this.#helper.ask("sent", null));
  }

  get isAlive(): boolean {
    return !this.#helper.hasExited;
  }

  kill(): Promise<void> {
    return this.#helper.kill();
  }
}

export class LoadProcess {
  readonly #helper = new Helper("load.ts", { cpu: LOAD_CPU });

  async started(): Promise<void> {
    await this.#helper.ready;
  }

  async open(calls: readonly Call[], events: number, rampMs = 0): Promise<void> {
    await this.#do("open", { calls, rampMs, events });
  }

  progress(): Promise<Progress> {
    return this.#do("progress", null);
  }

  mark(): Promise<Progress> {
    return this.#do("mark", null);
  }

  unmark(): Promise<Progress> {
    return this.#do("unmark", null);
  }

  async leave(): Promise<void> {
    await this.#do("leave", null);
  }

  async reset(): Promise<void> {
    await this.#do("reset", null);
  }

  finish(limitMs: number): Promise<Summary> {
    return this.#do("finish", { limitMs });
  }

  sweep(call: Call, readers: number) {
    return this.#do("sweep", { call, readers });
  }

  ask(call: Call) {
    return this.#do("ask", { call });
  }

  get isAlive(): boolean {
    return !this.#helper.hasExited;
  }

  kill(): Promise<void> {
    return this.#helper.kill();
  }

  #do<K extends keyof Commands>(name: K, args: Commands[K]["args"]): Promise<Commands[K]["answer"]> {
    return this.#helper.ask(name, args) as Promise<Commands[K]["answer"]>;
  }
}

/** The program's path, if PATH has it; Debian keeps some servers outside a user's. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/usr/local/sbin"];
  return folders.map((folder) => join(folder, name)).find((file) => existsSync(file));
}
