/**
 * Child processes that do not outlive us, and what they print.
 *
 * No handler of ours runs when we are killed. So a small shell, in a session of its own, waits for the end of a pipe that
 * only we hold, and then kills the child.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { appendFileSync, writeFileSync } from "node:fs";
import type { Readable } from "node:stream";

/** Enough for a few stack traces, and bounded however long a process runs. */
const TAIL_CHARS = 65_536;

/** Kills the child when we end, in whatever way; `group`: the whole process group that it leads (`detached`). */
export function guard(child: ChildProcess, { group = false }: { group?: boolean } = {}): void {
  if (child.pid === undefined) return;
  const target = `${group ? "-" : ""}${child.pid}`;
  const shell = spawn("/bin/sh", ["-c", 'read -r _; kill -s KILL -- "$1"', "holdfast-guard", target], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  shell.unref();
  // Without a shell the child is killed by whoever started it, as ever.
  shell.on("error", () => {});
  child.once("exit", () => shell.kill("SIGKILL"));
}

/** Signals a process group; one that is gone already is no error. */
export function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // All of them are gone.
  }
}

/** The newest part of what a process prints, and a copy of all of it where wanted. */
export class OutputTail {
  text = "";
  readonly #copyTo: string | undefined;

  /** @param copyTo "inherit": our stderr; else a file, begun anew, that only its owner can read. */
  constructor(copyTo?: string) {
    this.#copyTo = copyTo;
    if (copyTo !== undefined && copyTo !== "inherit") writeFileSync(copyTo, "", { mode: 0o600 });
  }

  /** Reads all the time, or the process would stop at a full pipe. */
  follow(...streams: (Readable | null)[]): this {
    for (const stream of streams) stream?.setEncoding("utf8").on("data", (text: string) => this.#take(text));
    return this;
  }

  /** As the end of an error message. */
  quote(): string {
    const printed = this.text.trim();
    return printed === "" ? "It printed nothing." : `It printed:\n\n${printed}`;
  }

  #take(text: string): void {
    this.text = (this.text + text).slice(-TAIL_CHARS);
    if (this.#copyTo === "inherit") process.stderr.write(text);
    else if (this.#copyTo !== undefined) appendFileSync(this.#copyTo, text);
  }
}
