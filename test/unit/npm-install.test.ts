import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { npmCi } from "../../tools/npm-install.mjs";

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "holdfast-install-"));
  onTestFinished(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

/** Installs with an npm that is this script of the shell. */
async function installWith(script: string): Promise<void> {
  const bin = folder();
  writeFileSync(join(bin, "npm"), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  const path = `${bin}${delimiter}${process.env.PATH}`;
  const arrived = () => ({ amount: 0, text: "nothing is here" });
  await npmCi({ folder: bin, flags: [], path, what: "a thing", say: () => {}, arrived });
}

const NO_NETWORK = 'if [ "$1" = ping ]; then echo "npm error code ENOTFOUND" >&2; exit 1; fi';

it("an install from npm's cache that fills the disk has failed, whatever npm's exit code says", async () => {
  const full = `${NO_NETWORK}
case "$*" in
  *--offline*) echo "npm warn tar TAR_ENTRY_ERROR ENOSPC: no space left on device, write" >&2 ;;
  *) exec sleep 60 ;;
esac`;
  await expect(installWith(full)).rejects.toThrow("Cannot install a thing: the disk is full.");
});

it("an install from npm's cache needs no network", async () => {
  await installWith(`${NO_NETWORK}\ncase "$*" in *--offline*) ;; *) exec sleep 60 ;; esac`);
});

it("a ping whose connection is lost does not end an install that gets what it asks for", async () => {
  await installWith(`if [ "$1" = ping ]; then echo "npm error code ECONNRESET" >&2; exit 1; fi
case "$*" in *--offline*) exit 1 ;; *) exec sleep 0.3 ;; esac`);
});

it("an install does not fail for a ping that is gone when it is to be ended, and not yet known to be", async () => {
  const kill = vi.spyOn(process, "kill").mockImplementation(() => {
    throw Object.assign(new Error("kill ESRCH"), { code: "ESRCH" });
  });
  onTestFinished(() => kill.mockRestore());
  await installWith('if [ "$1" = ping ]; then exec sleep 1; fi');
  expect(kill).toHaveBeenCalled();
});
