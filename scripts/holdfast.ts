#!/usr/bin/env node
/** The package's command: each of its own commands is a script that reads what is left of the command line. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../tools/bundle.ts";
import { misused } from "../tools/command-line.ts";

const COMMANDS: Readonly<Record<string, () => Promise<unknown>>> = {
  start: () => import("./start.ts"),
  key: () => import("./key.ts"),
  conformance: () => import("./conformance.ts"),
  install: () => import("./install.ts"),
};

const [given = "start"] = process.argv.slice(2);
if (given === "--version") {
  const { version }: { version: string } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  console.log(version);
} else {
  // `holdfast --origin URL` starts too.
  const name = given.startsWith("-") ? "start" : given;
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) misused(`No such command: ${given}. There are ${Object.keys(COMMANDS).join(", ")}`);
  if (name === given) process.argv.splice(2, 1);
  await command();
}
