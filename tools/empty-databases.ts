/**
 * Plain workerd makes a database of 4 KiB for every Durable Object that was ever asked for anything, and removes none:
 * the lookup of an unknown id leaves one, so does a conversation that has expired. Those without content go here, before
 * workerd starts: an object without a file is the same to it.
 *
 *     <state>/<namespace>/<64 hexadecimal digits>.sqlite, -wal, -shm      one object
 *     <state>/<namespace>/metadata.sqlite                                 the alarms of all of them: never touched
 */
import { closeSync, existsSync, openSync, readdirSync, readSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";

const OBJECT = /^[0-9a-f]{64}\.sqlite$/;
/** As workerd leaves an empty one: a single page. Each table has a page of its own, workerd's tables too. */
const PAGE_BYTES = 4_096;
/** In the first page of SQLite's file format, behind the file's header: a leaf of the table of tables … */
const LEAF = { at: 100, value: 0x0d };
/** … and how many tables it lists, two bytes. */
const TABLES_AT = 103;
/** One takes about 0.15 ms to remove, less to look at. What is not reached has its turn at another start. */
const DEFAULT_LIMIT_MS = 2_000;

/** Returns how many were removed. No workerd may run on the folder. */
export function removeEmptyDatabases(state: string, limitMs = DEFAULT_LIMIT_MS): number {
  if (!existsSync(state)) return 0;
  const deadline = performance.now() + limitMs;
  let removed = 0;
  for (const file of objectDatabases(state)) {
    if (performance.now() > deadline) break;
    if (!isEmpty(file)) continue;
    for (const suffix of ["", "-wal", "-shm"]) rmSync(file + suffix, { force: true });
    removed += 1;
  }
  return removed;
}

/** Begins at a random one, so that in a large folder each has its turn. */
function objectDatabases(state: string): string[] {
  const files = readdirSync(state, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name }) => readdirSync(join(state, name)).map((file) => ({ folder: join(state, name), file })))
    .filter(({ file }) => OBJECT.test(file))
    .map(({ folder, file }) => join(folder, file));
  const first = Math.floor(Math.random() * files.length);
  return [...files.slice(first), ...files.slice(0, first)];
}

function isEmpty(file: string): boolean {
  // What was written last may still be in the log of writes only.
  const log = statSync(`${file}-wal`, { throwIfNoEntry: false });
  if (log !== undefined && log.size > 0) return false;
  const { size } = statSync(file);
  if (size === 0) return true;
  if (size !== PAGE_BYTES) return false;
  const page = firstPage(file);
  const isDatabase = page.toString("latin1", 0, 16) === "SQLite format 3\0";
  return isDatabase && page[LEAF.at] === LEAF.value && page.readUInt16BE(TABLES_AT) === 0;
}

function firstPage(file: string): Buffer {
  const page = Buffer.alloc(PAGE_BYTES);
  const descriptor = openSync(file, "r");
  try {
    readSync(descriptor, page, 0, PAGE_BYTES, 0);
    return page;
  } finally {
    closeSync(descriptor);
  }
}
