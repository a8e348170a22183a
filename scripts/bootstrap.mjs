/**
 * Runs one of our TypeScript scripts from a fresh clone, on whatever Node (20 or newer) the machine has.
 *
 *     node scripts/bootstrap.mjs [script.ts [arguments…]]
 *
 *   node_modules missing, half installed or of another package-lock.json ──▶ `npm ci`, once
 *   then the script, on the Node that package-lock.json pins; without a script that is all
 *
 * Plain JavaScript without dependencies, as what it imports: it must run before anything is installed. The script gets
 * our stdio and signals, we exit as it does, and nothing outlives us: the script notices by the IPC channel when we are
 * killed.
 */

import { spawn } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { InstallFailed, installOnce, npmCi } from "../tools/npm-install.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const modules = join(root, "node_modules");
const pinnedNode = join(modules, "node", "bin", "node");
/** npm writes this file last, so it is there only after a whole install, and says what was installed. */
const installedLock = join(modules, ".package-lock.json");
/**
 * Held while an install runs: `npm ci` begins by deleting node_modules, so a second one, of `npm test` beside `npm start`
 * in a fresh clone, would ruin both.
 */
const installing = join(root, ".holdfast", "installing");

// Development dependencies are what we need, whatever NODE_ENV or the user's npm settings say.
const INSTALL_FLAGS = ["--include=dev", "--include=optional"];
const TOOLS = "the tools";

/** The oldest Node that runs .ts files without a flag. */
const TYPE_STRIPPING = [22, 18];

const [script, ...args] = process.argv.slice(2);

await install();
if (script !== undefined) await run(script, args);

async function install() {
  const killed = onSignals((signal) => process.exit(128 + constants.signals[signal]));
  try {
    await installOnce({ what: TOOLS, lock: installing, isInstalled, install: installTools, say });
  } catch (error) {
    if (!(error instanceof InstallFailed)) throw error;
    fail(error.message);
  }
  killed.stop();
}

async function installTools() {
  say("installing the pinned tools into node_modules (npm ci), once: some 250 MB to download …");
  // A half install is noticed by the next run.
  rmSync(installedLock, { force: true });
  // Not on the Node of node_modules, which npm is about to delete under its own feet.
  const path = searchPath().filter(isOutside).join(delimiter);
  await npmCi({ folder: root, flags: INSTALL_FLAGS, path, what: TOOLS, say, arrived }).catch((error) => {
    // On a full disk npm writes it all the same.
    rmSync(installedLock, { force: true });
    throw error;
  });
  if (!isInstalled()) fail("npm ci succeeded, but node_modules is not what package-lock.json describes.");
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

function arrived() {
  const paths = Object.keys(packagesOf(join(root, "package-lock.json")) ?? {}).filter((path) => path !== "");
  const amount = paths.filter((path) => existsSync(join(root, path, "package.json"))).length;
  // Of other platforms' packages the lock file has more than will come.
  return { amount, text: `${amount} packages unpacked of at most ${paths.length}` };
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

/** Calls `handler` on each signal that means "end", until `stop()`. */
function onSignals(handler) {
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of signals) process.on(signal, handler);
  return {
    stop() {
      for (const signal of signals) process.off(signal, handler);
    },
  };
}

function say(line) {
  console.error(`holdfast: ${line}`);
}

function fail(message) {
  say(message);
  process.exit(1);
}
