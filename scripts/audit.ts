/**
 * npm run audit: asks npm's registry for known holes in what we publish and deploy.
 *
 * `npm audit --omit=dev` would see nothing: what is bundled, hono for one, is a development dependency. So npm gets a lock
 * file of what the bundlers put into our files and of workerd, which the package's command installs, with the versions of
 * ours.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "../tools/bundle.ts";
import { exitCode, fail, onEnd } from "../tools/command-line.ts";
import { buildPackage } from "../tools/package.ts";

interface Locked {
  version: string;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  dev?: boolean;
}

const folder = await mkdtemp(join(tmpdir(), "holdfast-audit-"));
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
onEnd((signal) => process.exit(exitCode(null, signal)));

const { packages } = await buildPackage(join(folder, "lib")).catch((error: Error) => fail(error.message));
const lock: { packages: Record<string, Locked> } = await json("package-lock.json");
const asked = new Map<string, Locked>();
for (const name of [...packages.map(({ name }) => name), "workerd"]) add(name);

const root = { name: "holdfast-published", version: "0.0.0", dependencies: versions() };
await writeJson("package.json", root);
await writeJson("package-lock.json", {
  ...root,
  lockfileVersion: 3,
  packages: { "": root, ...Object.fromEntries([...asked].map(([name, entry]) => [`node_modules/${name}`, entry])) },
});
console.log(`Asking for known holes in ${[...asked].map(([name, { version }]) => `${name} ${version}`).join(", ")}`);
const npm = spawn("npm", ["audit", "--package-lock-only", "--loglevel=error"], { cwd: folder, stdio: "inherit" });
const [code, signal] = await once(npm, "close");
process.exit(exitCode(code, signal));

/** This one and what npm installs with it. */
function add(name: string): void {
  const entry = lock.packages[`node_modules/${name}`];
  // Of workerd's binaries for all platforms the lock file has each.
  if (entry === undefined) fail(`package-lock.json has no ${name}`);
  if (asked.has(name)) return;
  const { dev: _, ...published } = entry;
  asked.set(name, published);
  for (const needed of Object.keys({ ...entry.dependencies, ...entry.optionalDependencies })) add(needed);
}

function versions(): Record<string, string> {
  return Object.fromEntries([...asked].map(([name, { version }]) => [name, version]));
}

async function json(name: string) {
  return JSON.parse(await readFile(join(ROOT, name), "utf8"));
}

async function writeJson(name: string, value: unknown): Promise<void> {
  await writeFile(join(folder, name), JSON.stringify(value, undefined, 2));
}
