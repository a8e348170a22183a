/** What the setup acts on, and with: a test holds all of it. */
import { type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { guard, OutputTail, signalGroup } from "../child-process.ts";

export interface Surroundings {
  /** The checkout: wrangler.toml is read and changed there, and wrangler runs there. */
  root: string;
  /** A private folder for what Cloudflare does not give back: the keys. */
  state: string;
  /** Program and first arguments. */
  wrangler: readonly [string, ...string[]];
  env: NodeJS.ProcessEnv;
  /** Asks the person; `undefined` where there is none to ask. */
  ask: ((question: string) => Promise<string>) | undefined;
  say(line: string): void;
  /** Where wrangler itself talks to the person; `ignore`: there is nobody. */
  terminal: "inherit" | "ignore";
}

/** wrangler needs two seconds to start on a small machine, and Cloudflare one to answer. */
const ANSWER_MS = 9_000;

/** What stops the setup, in a sentence for the user. */
export class SetupError extends Error {}

export interface Ran {
  ok: boolean;
  timedOut: boolean;
  stdout: string;
  output: OutputTail;
}

type Env = Readonly<Record<string, string>>;

/** Runs wrangler without a terminal, to read what it says. Offline it would wait for minutes. */
export async function readWrangler({ root, wrangler, env }: Surroundings, args: readonly string[]): Promise<Ran> {
  const [program, ...first] = wrangler;
  const ran = await run(program, [...first, ...args], { cwd: root, env: { ...env, WRANGLER_HIDE_BANNER: "true" } });
  if (ran.timedOut) {
    throw new SetupError(`Cloudflare did not answer within ${ANSWER_MS / 1000} s. Is there a network?`);
  }
  return ran;
}

/** Runs wrangler with the user's terminal: it may ask which account, or for a workers.dev name. */
export async function showWrangler(
  { root, wrangler, env, terminal }: Surroundings,
  args: readonly string[],
  more: Env,
): Promise<boolean> {
  const [program, ...first] = wrangler;
  const child = spawn(program, [...first, ...args], { cwd: root, env: { ...env, ...more }, stdio: terminal });
  return (await endOf(child)) === 0;
}

export async function run(program: string, args: readonly string[], options: SpawnOptions): Promise<Ran> {
  // wrangler is a chain of processes: a group of its own, so that all of them can be ended.
  const child = spawn(program, args, { ...options, stdio: ["ignore", "pipe", "pipe"], detached: true });
  guard(child, { group: true });
  const output = new OutputTail().follow(child.stdout, child.stderr);
  let stdout = "";
  child.stdout.on("data", (text: string) => {
    stdout += text;
  });
  let timedOut = false;
  const limit = setTimeout(() => {
    timedOut = true;
    signalGroup(child, "SIGKILL");
  }, ANSWER_MS);
  try {
    return { ok: (await endOf(child)) === 0, timedOut, stdout, output };
  } finally {
    clearTimeout(limit);
  }
}

async function endOf(child: ReturnType<typeof spawn>): Promise<number | null> {
  try {
    const [code] = await once(child, "close");
    return code;
  } catch (cause) {
    throw new SetupError(`Cannot start ${child.spawnfile}: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
}
