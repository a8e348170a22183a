/** Secrets that `npm start` makes once and keeps in its storage folder, each in a file that only its owner can read. */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export const ADMIN_KEY_FILE = "admin-key";
export const KEY_SECRET_FILE = "key-secret";

/** What is in the file, or a new one. Throws when the file is empty. */
export function keptSecret(storage: string, name: string, prefix = ""): { value: string; isNew: boolean } {
  const kept = readSecret(storage, name);
  if (kept !== undefined) return { value: kept, isNew: false };
  const value = newSecret(prefix);
  keepSecret(storage, name, value);
  return { value, isNew: true };
}

export function newSecret(prefix = ""): string {
  return prefix + randomBytes(16).toString("hex");
}

export function keepSecret(storage: string, name: string, value: string): void {
  mkdirSync(storage, { recursive: true });
  writeFileSync(join(storage, name), `${value}\n`, { mode: 0o600 });
}

/** `undefined` where there is no such file. Throws when it is empty. */
export function readSecret(storage: string, name: string): string | undefined {
  const file = join(storage, name);
  if (!existsSync(file)) return undefined;
  const value = readFileSync(file, "utf8").trim();
  if (value === "") throw new Error(`${file} is empty. Delete it, and a new one is made.`);
  return value;
}
