// @ts-check
/**
 * An install with npm that says what it does, does not hang without a network, and is done once where two start at the
 * same time. For a fresh clone (scripts/bootstrap.mjs) and for the package's command (tools/workerd.ts).
 *
 *     installOnce ── a lock beside the target, waited for ──▶ npmCi ──▶ npm ci, and beside it npm ping
 *
 * Plain JavaScript without dependencies: in a clone it runs before anything is installed, on whatever Node there is.
 * Nothing outlives the caller, however that one ends; whoever ends it need only let the process exit.
 */

import { spawn } from "node:child_process";
import { existsSync, mkdirSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** The lock's holder touches it again and again, so that one that was killed is noticed. */
const LOCK_BEAT_MS = 500;
const LOCK_STALE_MS = 5_000;
/** A line of progress at least this often. */
const PROGRESS_MS = 4_000;
/** How long the registry may take to answer at all, npm's own start included: with what follows less than 10 s. */
const REGISTRY_MS = 7_000;
/** Codes of a connection that there was. */
const LOST_CONNECTION = /^(?:ECONNRESET|EPIPE|ETIMEDOUT|ERR_SOCKET_TIMEOUT)$/;
/** Of what npm prints: enough for its errors. */
const OUTPUT_CHARS = 16_384;

const FLAGS = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=warn"];

/** npm's codes that say little to whom they are new. */
const PLAIN_WORDS = new Map([
  ["ENOSPC", "the disk is full"],
  ["EDQUOT", "your share of the disk is full"],
  ["EROFS", "the disk is read-only"],
  ["EINTEGRITY", "what the registry sent is not what was published"],
]);

/** What could not be installed, why, and what to do: for the user, without a stack. */
export class InstallFailed extends Error {}

/**
 * Calls `install` unless `isInstalled`; while another process does so here, waits for that one.
 *
 * A process id in the lock would not do: another process or a zombie may have it.
 *
 * @param {{
 *   what: string, lock: string, isInstalled: () => boolean, install: () => Promise<void>, say: (line: string) => void,
 * }} options `what` is installed, in messages. `lock`: a file, whose folder is made
 * @throws {InstallFailed}
 */
export async function installOnce({ what, lock, isInstalled, install, say }) {
  let told = false;
  while (!isInstalled()) {
    if (takeLock(lock, what)) {
      const release = () => rmSync(lock, { force: true });
      const beat = setInterval(() => {
        // It was taken from us if we stood still, as a machine that sleeps.
        if (existsSync(lock)) utimesSync(lock, new Date(), new Date());
      }, LOCK_BEAT_MS);
      process.once("exit", release);
      try {
        // Another install may have ended between the look and the lock.
        if (!isInstalled()) await install();
      } finally {
        clearInterval(beat);
        process.off("exit", release);
        release();
      }
    } else {
      if (!told) say("another install is running here, waiting for it …");
      told = true;
      await sleep(LOCK_BEAT_MS);
    }
  }
}

/** @param {string} lock @param {string} what */
function takeLock(lock, what) {
  try {
    mkdirSync(dirname(lock), { recursive: true });
    const { mtimeMs } = statSync(lock, { throwIfNoEntry: false }) ?? { mtimeMs: Date.now() };
    if (Date.now() - mtimeMs > LOCK_STALE_MS) rmSync(lock, { force: true });
    writeFileSync(lock, "", { flag: "wx" });
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
    const why = error instanceof Error ? error.message : String(error);
    throw new InstallFailed(`Cannot install ${what}: ${why}.`, { cause: error });
  }
}

/**
 * `npm ci` in a folder with a package.json and a package-lock.json.
 *
 * @param {{
 *   folder: string, flags: readonly string[], path?: string, what: string, say: (line: string) => void,
 *   arrived: () => { amount: number, text: string },
 * }} options `path`: where npm is looked for. `what` is installed, in messages. `arrived`: what is there so far.
 * @throws {InstallFailed}
 */
export async function npmCi({ folder, flags, path = process.env.PATH, what, say, arrived }) {
  const npm = (/** @type {string[]} */ ...args) => startNpm(args, folder, path);
  const install = npm("ci", ...flags, ...FLAGS);
  const progress = setInterval(() => {
    const seconds = Math.round(performance.now() / 1000);
    say(`still installing after ${seconds} s, waiting for npm: ${arrived().text}`);
  }, PROGRESS_MS);
  // npm itself tries for minutes before it says that there is no network.
  const registry = pingRegistry(npm);
  try {
    const fault = await Promise.race([install.ended.then(() => undefined), registry.fault(() => arrived().amount > 0)]);
    if (fault === undefined) return requireWhole(await install.ended, what);
    install.kill();
    await install.ended;
    // What an earlier install left in npm's cache may be enough.
    const cached = await npm("ci", ...flags, ...FLAGS, "--offline").ended;
    if (cached.code === 0) requireWhole(cached, what);
    else
      throw new InstallFailed(
        `Cannot install ${what}: ${fault}, and npm's cache does not hold all of it.\n` +
          "Is there a network, or a proxy that npm needs (npm config set proxy)? Then try again.",
      );
  } finally {
    clearInterval(progress);
    registry.stop();
  }
}

/** @param {Ended} ended @param {string} what */
function requireWhole({ code, output, error }, what) {
  if (error !== undefined) {
    const why = error.code === "ENOENT" ? "there is no npm on PATH" : error.message;
    throw new InstallFailed(`Cannot run npm, which installs ${what}: ${why}.`, { cause: error });
  }
  // npm warns of a file that it could write in part only, and ends as if all were well.
  const cut = /TAR_ENTRY_ERROR (ENOSPC|EDQUOT|EFBIG|EIO)\b/.exec(output)?.[1];
  if (code === 0 && cut === undefined) return;
  const why = PLAIN_WORDS.get(cut ?? errorCode(output) ?? "") ?? `npm ci failed (exit code ${code})`;
  throw new InstallFailed(`Cannot install ${what}: ${why}. npm said:\n\n${output.trim()}`);
}

/**
 * Asks the registry for nothing but an answer. `fault` is why it cannot be reached, and `undefined` where it answered, be it
 * with an error, or where things arrive all the same: on a line that is slow and full the answer may be late.
 *
 * @param {(...args: string[]) => Npm} npm
 */
function pingRegistry(npm) {
  // npm's level of detail, because the code of its error is read here.
  const ping = npm("ping", "--fetch-retries=0", "--no-update-notifier", "--loglevel=notice");
  const waiting = new AbortController();
  const { signal } = waiting;
  // npm's own limit does not hold for a connection that nobody takes: it waits for the system's, two minutes.
  const silent = sleep(REGISTRY_MS, `no answer within ${REGISTRY_MS / 1000} s`, { signal });
  const answer = ping.ended.then(({ code, output }) => (code === 0 ? undefined : errorCode(output)));
  return {
    async fault(/** @type {() => boolean} */ arrives) {
      const why = await Promise.race([answer, silent.then((words) => (arrives() ? undefined : words))]);
      if (why === undefined || /^E\d{3}$/.test(why)) return undefined;
      // One connection that was lost tells little: the install's own may hold, and npm makes new ones.
      if (LOST_CONNECTION.test(why)) {
        await silent;
        if (arrives()) return undefined;
      }
      return `${/PING (\S+)/.exec(ping.output())?.[1] ?? "npm's registry"} cannot be reached (${why})`;
    },
    stop() {
      waiting.abort();
      ping.kill();
    },
  };
}

/** @param {string} output */
function errorCode(output) {
  return /^npm (?:error|ERR!) code (\S+)/m.exec(output)?.[1];
}

/**
 * @typedef {{ code: number | null, output: string, error?: NodeJS.ErrnoException }} Ended
 * @typedef {{ ended: Promise<Ended>, output: () => string, kill: () => void }} Npm
 */

/**
 * A group of processes that does not outlive us.
 *
 * @param {string[]} args @param {string} cwd @param {string | undefined} path
 * @returns {Npm}
 */
function startNpm(args, cwd, path) {
  const child = spawn("npm", args, {
    cwd,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, PATH: path },
    // Its own process group, so that one signal ends the install scripts too.
    detached: true,
  });
  const guard = child.pid === undefined ? undefined : guardGroup(child.pid);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => (output = (output + text).slice(-OUTPUT_CHARS)));
  }
  const kill = () => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    try {
      process.kill(-child.pid, "SIGKILL");
    } catch {
      // Gone: of two that end at once Node tells one after the other.
    }
  };
  process.prependOnceListener("exit", kill);
  /** @type {Promise<Ended>} */
  const ended = new Promise((done) => {
    child.on("error", (error) => done({ code: null, error, output }));
    child.on("close", (code) => done({ code, output }));
  });
  void ended.then(() => {
    process.off("exit", kill);
    guard?.kill("SIGKILL");
  });
  return { ended, output: () => output, kill };
}

/**
 * When we are killed this shell sees its input end, and stops the group: nobody would wait for it.
 *
 * @param {number} leader
 */
function guardGroup(leader) {
  return spawn("/bin/sh", ["-c", 'read -r _; kill -s KILL -- "-$1"', "holdfast-guard", String(leader)], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
}
