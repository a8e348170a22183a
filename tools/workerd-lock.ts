/**
 * What package-lock.json says of workerd, for the package: its command installs what the tests of this repository ran.
 *
 *     package-lock.json ──workerdLock()──▶ lib/workerd-lock.json ──installFiles()──▶ what `npm ci` is given
 *
 * Only the binary of one's own machine is installed. The package `workerd` around it chooses one, as an optional
 * dependency: npm is silent when it cannot be had.
 */

export interface WorkerdLock {
  /** The one that package.json pins. */
  version: string;
  /** The packages that hold a binary, by name. */
  binaries: Readonly<Record<string, LockedBinary>>;
}

/** As it stands in package-lock.json. */
export interface LockedBinary {
  version: string;
  integrity: string;
  os: string[];
  cpu: string[];
}

interface PackageLock {
  packages: Readonly<
    Record<string, { optionalDependencies?: Readonly<Record<string, string>> } & Partial<LockedBinary>>
  >;
}

export const WORKERD_LOCK_FILE = "workerd-lock.json";

/** Throws where package-lock.json lacks something: a package without it could not be started. */
export function workerdLock({ packages }: PackageLock): WorkerdLock {
  const { version, optionalDependencies = {} } = packages["node_modules/workerd"] ?? {};
  if (version === undefined) throw new Error("package-lock.json has no workerd");
  const binaries = Object.keys(optionalDependencies).map((name) => {
    const { version, integrity, os, cpu } = packages[`node_modules/${name}`] ?? {};
    if (version === undefined || integrity === undefined || os === undefined || cpu === undefined) {
      throw new Error(`package-lock.json does not have version, integrity, os and cpu of ${name}`);
    }
    return [name, { version, integrity, os, cpu }] as const;
  });
  return { version, binaries: Object.fromEntries(binaries) };
}

export interface WorkerdInstall {
  /** The package with the binary. */
  name: string;
  /** By their names, for a folder of their own. */
  files: Readonly<Record<"package.json" | "package-lock.json", string>>;
}

/** For a machine with this `process.platform` and `process.arch`. Throws where there is no workerd for it. */
export function workerdInstall({ version, binaries }: WorkerdLock, platform: string, arch: string): WorkerdInstall {
  const [found] = Object.entries(binaries).filter(([, { os, cpu }]) => os.includes(platform) && cpu.includes(arch));
  if (found === undefined) {
    const machines = Object.values(binaries).map(({ os, cpu }) => `${os.join("/")} ${cpu.join("/")}`);
    throw new Error(`There is no workerd ${version} for ${platform} ${arch}, only for ${machines.join(", ")}.`);
  }
  const [name, binary] = found;
  const root = { name: "holdfast-workerd", version, private: true, dependencies: { [name]: binary.version } };
  const lock = { ...root, lockfileVersion: 3, packages: { "": root, [`node_modules/${name}`]: binary } };
  return { name, files: { "package.json": JSON.stringify(root), "package-lock.json": JSON.stringify(lock) } };
}
