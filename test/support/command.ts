/** A command as a user starts it from a shell, and what it prints. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { until, within } from "../../tools/wait.ts";

/** `npm start` bundles the Worker first, which takes 2 s, and many times that where others are at work. */
const READY_DEADLINE_MS = 60_000;

/** In a process group of its own. Whoever starts it ends it. */
export class Command {
  stdout = "";
  stderr = "";
  readonly exited: Promise<number | null>;
  readonly #child: ChildProcess;

  constructor(file: string, args: string[], { env = {}, cwd }: { env?: NodeJS.ProcessEnv; cwd?: string } = {}) {
    // What the user's shell has set would change what is tested.
    const { API_KEYS: _, ORIGIN_API_KEY: __, ...ours } = process.env;
    this.#child = spawn(file, args, {
      ...(cwd !== undefined && { cwd }),
      env: { ...ours, ...env },
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
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
    const hasPrinted = () => {
      if (this.stdout.includes(text)) return true;
      if (this.#child.exitCode === null) return false;
      throw new Error(
        `It ended with ${this.#child.exitCode}, without printing "${text}": ${this.stdout}${this.stderr}`,
      );
    };
    await until(hasPrinted, `it prints "${text}"`, READY_DEADLINE_MS);
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
