/** What every command of ours does alike: read its options, end with a sentence, and end when it is told to. */
import { constants } from "node:os";
import { type ParseArgsConfig, parseArgs } from "node:util";

/** Says what went wrong, and ends. */
export function fail(message: string): never {
  console.error(`holdfast: ${message}`);
  process.exit(1);
}

/** Says what is wrong with how the command was called, and ends. */
export function misused(message: string): never {
  console.error(`holdfast: ${message}`);
  process.exit(2);
}

/** `parseArgs` for a command: what it does not know is a misuse, and `hint` says where the options are listed. */
export function readOptions<Config extends ParseArgsConfig>(config: Config, hint: string) {
  try {
    return parseArgs(config);
  } catch (error) {
    return misused(`${error instanceof Error ? error.message : String(error)}\n${hint}`);
  }
}

/** Calls `end` with each signal that means "end", and when scripts/bootstrap.mjs, which passes them on, was killed. */
export function onEnd(end: (signal: NodeJS.Signals) => void): void {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => end(signal));
  process.on("disconnect", () => end("SIGTERM"));
}

/** As a shell says how a process ended. */
export function exitCode(code: number | null, signal: NodeJS.Signals | null): number {
  return signal === null ? (code ?? 1) : 128 + constants.signals[signal];
}

/** A variable of the environment; one that is empty counts as not set, as shells and CI files write "none". */
export function fromEnvironment(name: string): string | undefined {
  return process.env[name] || undefined;
}
