/**
 * The tables of a tenant's object, and their version. Made with the first thing that has to be kept: a question about a
 * tenant that does not exist leaves nothing behind.
 */
import type { Sql } from "../storage/sql.ts";

const SCHEMA_VERSION = 1;

const TABLES = [
  // The owner's limits, and this version.
  "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
  `CREATE TABLE key (hash TEXT PRIMARY KEY, name TEXT NOT NULL, created_at INTEGER NOT NULL, used_day INTEGER,
     expires_at INTEGER, scopes TEXT NOT NULL, limits TEXT NOT NULL) WITHOUT ROWID`,
  "CREATE TABLE accepted (at INTEGER NOT NULL, key TEXT NOT NULL)",
  // One row per conversation: TEXT primary keys without a row id cost one row written, not two.
  `CREATE TABLE live (conversation TEXT PRIMARY KEY, session TEXT NOT NULL, key TEXT NOT NULL,
     started_at INTEGER NOT NULL, bytes INTEGER NOT NULL, model TEXT, origin TEXT) WITHOUT ROWID`,
  `CREATE TABLE ended (conversation TEXT PRIMARY KEY, session TEXT NOT NULL, key TEXT NOT NULL, row TEXT NOT NULL, bytes INTEGER NOT NULL,
     expires_at INTEGER NOT NULL) WITHOUT ROWID`,
  "CREATE TABLE hold (holder TEXT PRIMARY KEY, slot TEXT NOT NULL, key TEXT NOT NULL) WITHOUT ROWID",
  `CREATE TABLE usage (day INTEGER NOT NULL, model TEXT NOT NULL, key TEXT NOT NULL, requests INTEGER NOT NULL,
     unknown INTEGER NOT NULL, input INTEGER NOT NULL, cached INTEGER NOT NULL, output INTEGER NOT NULL,
     duration_ms INTEGER NOT NULL, first_byte_ms INTEGER NOT NULL, ends TEXT NOT NULL,
     origins TEXT NOT NULL DEFAULT '{}', PRIMARY KEY (day, model, key)) WITHOUT ROWID`,
];

/**
 * What a gateway of this version has added since, as table, column and type. A gateway from before it, rolled back to, names
 * its own columns when it writes, and so neither misses these nor misreads them: that takes no new version.
 */
const LATER_COLUMNS = [
  ["live", "model", "TEXT"],
  ["live", "origin", "TEXT"],
  ["usage", "origins", "TEXT NOT NULL DEFAULT '{}'"],
] as const;

/** Whether there are tables; older ones get the columns that came later. Throws when a newer version of the gateway made them. */
export function hasTables(sql: Sql): boolean {
  if (sql.all("SELECT name FROM sqlite_master WHERE name = 'meta'").length === 0) return false;
  const version = Number(readMeta(sql, "version"));
  if (version !== SCHEMA_VERSION) {
    throw new Error(`The tenant's tables have version ${version}; this gateway knows version ${SCHEMA_VERSION}`);
  }
  for (const [table, column, type] of LATER_COLUMNS) {
    const found = sql.all("SELECT 1 FROM pragma_table_info(?) WHERE name = ?", table, column);
    if (found.length === 0) sql.run(`ALTER TABLE ${table} ADD COLUMN ${column} ${type}`);
  }
  return true;
}

export function createTables(sql: Sql): void {
  for (const table of TABLES) sql.run(table);
  writeMeta(sql, "version", String(SCHEMA_VERSION));
}

export function readMeta(sql: Sql, name: string): string | undefined {
  return sql.all<{ value: string }>("SELECT value FROM meta WHERE name = ?", name)[0]?.value;
}

export function writeMeta(sql: Sql, name: string, value: string): void {
  sql.run(
    "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    name,
    value,
  );
}
