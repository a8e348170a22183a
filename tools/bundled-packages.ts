/**
 * What others wrote and `npm pack` publishes inside our files, with its licences: read from what the bundlers say went
 * into each part, so that a new import cannot be forgotten.
 *
 *     bundlers ──modules──▶ packages ──their folders in node_modules──▶ lib/THIRD-PARTY-NOTICES.txt
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { ROOT } from "./bundle.ts";

export const NOTICES_FILE = "THIRD-PARTY-NOTICES.txt";

/** A part of the package, and the paths of the modules in it, as its bundler writes them. */
export type Parts = Readonly<Record<string, readonly string[]>>;

export interface BundledPackage {
  name: string;
  version: string;
  licence: string;
  /** Where it is published. */
  parts: string[];
  /** Its own files with its licence, and what it has to say of others. */
  notice: string;
}

const LICENCE_FILE = /^(?:licen[cs]e|copying|notice)/i;
const RULE = "-".repeat(80);

/** Sorted by name. Throws when one of them has no licence to pass on. */
export async function bundledPackages(parts: Parts): Promise<BundledPackage[]> {
  const folders = new Map<string, Set<string>>();
  for (const [part, modules] of Object.entries(parts)) {
    for (const module of modules) {
      const folder = packageFolder(module);
      if (folder !== undefined) folders.set(folder, (folders.get(folder) ?? new Set()).add(part));
    }
  }
  const packages = await Promise.all([...folders].map(([folder, inParts]) => readPackage(folder, [...inParts])));
  return packages.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** Below the checkout, as `node_modules/hono`; `undefined` for a module of ours. */
function packageFolder(module: string): string | undefined {
  return /(?<![^/])node_modules\/(?:.*\/node_modules\/)?(?:@[^/]+\/)?[^/]+(?=\/)/.exec(module)?.[0];
}

async function readPackage(folder: string, parts: string[]): Promise<BundledPackage> {
  const manifest: { name: string; version: string; license: string } = JSON.parse(
    await readFile(join(ROOT, folder, "package.json"), "utf8"),
  );
  const files = (await readdir(join(ROOT, folder))).filter((name) => LICENCE_FILE.test(name)).toSorted();
  if (files.length === 0)
    throw new Error(`${folder} is published inside our files, and has no licence file to pass on`);
  const texts = await Promise.all(files.map((name) => readFile(join(ROOT, folder, name), "utf8")));
  const { name, version, license: licence } = manifest;
  return { name, version, licence, parts: parts.toSorted(), notice: texts.map((text) => text.trim()).join("\n\n") };
}

export function noticesOf(packages: readonly BundledPackage[]): string {
  const entries = packages.map(({ name, version, licence, parts, notice }) =>
    [RULE, `${name} ${version} (${licence}), in ${parts.join(", ")}`, RULE, "", notice, ""].join("\n"),
  );
  return `Holdfast itself is under the licence in LICENSE. Inside its files are parts of these packages.\n\n${entries.join("\n")}`;
}
