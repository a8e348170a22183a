/**
 * Runs one of our TypeScript scripts from a fresh clone, on whatever Node (20 or newer) the machine has.
 *
 *     node scripts/bootstrap.mjs [script.ts [arguments…]]
 *
 *   node_modules missing, half installed or of another package-lock.json ──▶ `npm ci`, once
 *   then the script, on the Node that package-lock.json pins; without a script that is all
 *
 * Plain JavaScript without dependencies: it must run before anything is installed. The script gets our stdio and
 * signals, we exit as it does, and nothing outlives us: the script notices by the IPC channel when we are killed.
 */

import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const modules = join(root, "node_modules");
const pinnedNode = join(modules, "node", "bin", "node");
/** npm writes this file last, so it is there only after a whole install, and says what was installed. */
const installedLock = join(modules, ".package-lock.json");
/**
 * Held while an install runs: `npm ci` begins by deleting node_modules, so a second one, of `npm test` beside `npm start`
 * in a fresh clone, would ruin both. The holder touches it again and again, so that one that was
 * killed is noticed; its process id would not do, because another process or a zombie may have it.
 */
const installing = join(root, ".holdfast", "installing");
const LOCK_BEAT_MS = 500;
const LOCK_STALE_MS = 5_000;

// Development dependencies are what we need, whatever NODE_ENV or the user's npm settings say.
const INSTALL_FLAGS = ["--include=dev", "--include=optional", "--no-audit", "--no-fund", "--loglevel=error"];
/** A line of progress at least this often. */
const PROGRESS_MS = 4_000;
/** How long the registry may take to answer at all. */
const REGISTRY_MS = 7_000;

/** The oldest Node that runs .ts files without a flag. */
const TYPE_STRIPPING = [22, 18];

const [script, ...args] = process.argv.slice(2);

await install();
if (script !== undefined) await run(script, args);

async function install() {
  let told = false;
  while (!isInstalled()) {
    if (takeInstallLock()) {
      const beat = setInterval(() => utimesSync(installing, new Date(), new Date()), LOCK_BEAT_MS);
      process.once("exit", releaseInstallLock);
      // Another install may have ended between the look and the lock.
      if (!isInstalled()) await npmCi();
      clearInterval(beat);
      process.off("exit", releaseInstallLock);
      releaseInstallLock();
      if (!isInstalled()) fail("npm ci succeeded, but node_modules is not what package-lock.json describes.");
    } else {
      if (!told) console.error("holdfast: another install is running here, waiting for it …");
      told = true;
      await sleep(LOCK_BEAT_MS);
    }
  }
}

/**
 * By content, not by age: git gives files the time of the checkout. The folders are looked at too, because `npm ci`
 * starts by deleting them, in any order, and may be killed there.
 */
function isInstalled() {
  const wanted = packagesOf(join(root, "package-lock.json"));
  const installed = packagesOf(installedLock);
  if (wanted === undefined) fail("package-lock.json is missing or damaged.");
  if (installed === undefined) return false;
  return Object.entries(wanted).every(([path, { version, integrity, optional }]) => {
    if (path === "") return true;
    const found = installed[path];
    // Optional packages of other platforms are in the lock file only.
    if (found === undefined) return optional === true;
    return found.version === version && found.integrity === integrity && existsSync(join(root, path, "package.json"));
  });
}

function packagesOf(lockFile) {
  try {
    return JSON.parse(readFileSync(lockFile, "utf8")).packages;
  } catch {
    // Missing or cut off: whoever wrote it did not finish.
    return undefined;
  }
}

function takeInstallLock() {
  try {
    mkdirSync(join(root, ".holdfast"), { recursive: true });
    if (lockAgeMs() > LOCK_STALE_MS) releaseInstallLock();
    writeFileSync(installing, "", { flag: "wx" });
    return true;
  } catch (error) {
    if (error.code === "EEXIST") return false;
    return fail(`Cannot install the tools into ${root}: ${error.message}`);
  }
}

function lockAgeMs() {
  return Date.now() - (statSync(installing, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
}

function releaseInstallLock() {
  rmSync(installing, { force: true });
}

async function npmCi() {
  console.error("holdfast: installing the pinned tools into node_modules (npm ci), once: some 250 MB to download …");
  rmSync(installedLock, { force: true });
  const install = npm("ci", ...INSTALL_FLAGS);
  const progress = setInterval(() => console.error(`holdfast: ${progressLine()}`), PROGRESS_MS);
  // npm itself tries for minutes before it says that there is no network.
  const ping = npm("ping", "--fetch-retries=0", `--fetch-timeout=${REGISTRY_MS}`);
  const unreachable = ping.ended.then(({ code, output }) => (code === 0 ? undefined : unreachableRegistry(output)));
  // Nothing to save: a half install is noticed by the next run.
  const killed = onSignals(() => {
    install.kill();
    ping.kill();
  });

  let result = await Promise.race([install.ended, unreachable.then((fault) => fault ?? install.ended)]);
  if (typeof result === "string") {
    const fault = result;
    install.kill();
    await install.ended;
    // What an earlier install left in npm's cache may be enough.
    result = await npm("ci", ...INSTALL_FLAGS, "--offline").ended;
    if (result.code !== 0 && killed.signal === undefined) fail(fault);
  }
  clearInterval(progress);
  ping.kill();
  killed.stop();
  if (killed.signal !== undefined) process.exit(128 + constants.signals[killed.signal]);
  if (result.error !== undefined) fail(`Cannot run npm, which installs the tools: ${result.error.message}`);
  if (result.code !== 0) fail(`npm ci failed (exit code ${result.code}). It said:\n\n${result.output.trim()}`);
}

function progressLine() {
  const paths = Object.keys(packagesOf(join(root, "package-lock.json")) ?? {}).filter((path) => path !== "");
  const there = paths.filter((path) => existsSync(join(root, path, "package.json"))).length;
  const seconds = Math.round(performance.now() / 1000);
  // Of other platforms' packages the lock file has more than will come.
  return `still installing after ${seconds} s, waiting for npm: ${there} packages unpacked of at most ${paths.length}`;
}

/** Why there is no registry, or nothing where it answered, be it with an error. */
function unreachableRegistry(output) {
  const code = /^npm (?:error|ERR!) code (\S+)/m.exec(output)?.[1];
  if (code === undefined || /^E\d{3}$/.test(code)) return undefined;
  const registry = /PING (\S+)/.exec(output)?.[1] ?? "npm's registry";
  const why = code === "FETCH_ERROR" ? `no answer within ${REGISTRY_MS / 1000} s` : code;
  return (
    `Cannot install the tools: ${registry} cannot be reached (${why}), and npm's cache does not hold them all.\n` +
    "Is there a network, or a proxy that npm needs (npm config set proxy)? Then try again."
  );
}

/** A group of processes that does not outlive us. */
function npm(...args) {
  const child = spawn("npm", args, {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
    // Not on the Node of node_modules, which npm is about to delete under its own feet.
    env: { ...process.env, PATH: searchPath().filter(isOutside).join(delimiter) },
    // Its own process group, so that one signal ends the install scripts too.
    detached: true,
  });
  // When we are killed this shell sees its input end, and stops npm: nobody would wait for it.
  const guard = spawn("/bin/sh", ["-c", 'read -r _; kill -s KILL -- "-$1"', "holdfast-guard", String(child.pid)], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (output += text));
  const ended = new Promise((done) => {
    child.on("error", (error) => done({ error, output }));
    child.on("close", (code) => done({ code, output }));
  });
  void ended.then(() => guard.kill("SIGKILL"));
  const kill = () => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    process.kill(-child.pid, "SIGKILL");
  };
  return { ended, kill };
}

async function run(script, args) {
  // From the checkout, whatever folder the user is in.
  const child = spawn(nodeForScripts(), [join(root, script), ...args], {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
    env: { ...process.env, PATH: [join(modules, ".bin"), ...searchPath().filter(isOutside)].join(delimiter) },
  });
  // The script decides what a signal means; on Ctrl-C it may get the same one twice, from the terminal and from us.
  onSignals((signal) => child.kill(signal));
  child.on("error", (error) => fail(`Cannot start ${script}: ${error.message}`));
  child.on("exit", (code, signal) => process.exit(signal === null ? code : 128 + constants.signals[signal]));
}

function nodeForScripts() {
  // Missing when npm was told, or decided, not to run install scripts.
  if (existsSync(pinnedNode)) return pinnedNode;
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > TYPE_STRIPPING[0] || (major === TYPE_STRIPPING[0] && minor >= TYPE_STRIPPING[1])) return process.execPath;
  return fail(
    `The pinned Node is missing because npm did not run install scripts, and this Node, ${process.versions.node}, is ` +
      `older than ${TYPE_STRIPPING.join(".")}.\n` +
      "Either allow them (npm config set ignore-scripts false; rm -rf node_modules) or use a newer Node, then try again.",
  );
}

function searchPath() {
  return (process.env.PATH ?? "").split(delimiter);
}

function isOutside(folder) {
  return !folder.startsWith(modules);
}

/** Calls `handler` on each signal that means "end" until `stop()`; `signal` is the one that came, if any. */
function onSignals(handler) {
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  const listening = {
    signal: undefined,
    stop() {
      for (const signal of signals) process.off(signal, listener);
    },
  };
  const listener = (signal) => {
    listening.signal = signal;
    handler(signal);
  };
  for (const signal of signals) process.on(signal, listener);
  return listening;
}

function fail(message) {
  console.error(`holdfast: ${message}`);
  process.exit(1);
}
