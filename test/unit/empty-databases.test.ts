import { mkdirSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { removeEmptyDatabases } from "../../tools/empty-databases.ts";

let state: string;
let folder: string;
let count: number;

beforeEach(() => {
  state = mkdtempSync(join(tmpdir(), "holdfast-state-"));
  folder = join(state, "holdfast-Conversation");
  mkdirSync(folder);
  count = 0;
});
afterEach(() => rmSync(state, { recursive: true, force: true }));

/** An object's database as workerd makes it: write-ahead log, and one page even without a table. */
function database(name = (count++).toString(16).padStart(64, "0")): { file: string; sql: DatabaseSync } {
  const file = join(folder, `${name}.sqlite`);
  const sql = new DatabaseSync(file);
  sql.exec("PRAGMA synchronous = OFF");
  sql.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (x); DROP TABLE t; VACUUM");
  sql.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  return { file, sql };
}

describe("removing empty databases", () => {
  it("removes those without a table, with all their files", () => {
    const { sql, file } = database();
    sql.close();
    writeFileSync(`${file}-shm`, "left by a kill");
    writeFileSync(`${file}-wal`, "");
    const never = database();
    never.sql.close();
    truncateSync(never.file, 0);
    expect(removeEmptyDatabases(state)).toBe(2);
    expect(readdirSync(folder)).toEqual([]);
  });

  it("keeps what has a table, be it workerd's own, be it only in the log of writes", () => {
    const closed = database();
    closed.sql.exec("CREATE TABLE _cf_KV (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID");
    closed.sql.close();
    const open = database();
    open.sql.exec("CREATE TABLE log (key INTEGER PRIMARY KEY, data BLOB)");
    const before = readdirSync(folder);
    expect(before).toContain("0".repeat(63).concat("1.sqlite-wal"));
    expect(removeEmptyDatabases(state)).toBe(0);
    expect(readdirSync(folder)).toEqual(before);
    open.sql.close();
  });

  it("keeps workerd's alarms, and files that are no database", () => {
    database("metadata").sql.close();
    writeFileSync(join(folder, `${"f".repeat(64)}.sqlite`), Buffer.alloc(4096));
    expect(removeEmptyDatabases(state)).toBe(0);
    expect(readdirSync(folder)).toHaveLength(2);
  });

  it("ends when its time is up, and finds nothing in a folder that is not there", () => {
    database().sql.close();
    expect(removeEmptyDatabases(state, -1)).toBe(0);
    expect(removeEmptyDatabases(join(state, "missing"))).toBe(0);
  });
});
