/**
 * A LogStorage on node:sqlite, in memory, whose disk the test controls.
 *
 *   written ── commit ──▶ survives a crash ── confirm ──▶ and `sync` says so
 *
 * As in a Durable Object, a crash may come before what was written is on the disk, or after, with nobody told.
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { LogStorage, Sql, SqlColumn, SqlValue } from "../../../src/storage/sql.ts";

export class NodeStorage implements LogStorage {
  readonly #db = new DatabaseSync(":memory:");
  readonly #statements = new Map<string, StatementSync>();
  #unconfirmed: PromiseWithResolvers<void>[] = [];

  /** Nothing can be written. */
  isFull = false;

  /** `dump`: the statements that make what is stored already. */
  constructor(dump = "") {
    this.#db.exec(dump);
    this.#db.exec("BEGIN");
  }

  readonly sql: Sql = {
    all: <T extends Record<string, SqlColumn>>(query: string, ...args: SqlValue[]) =>
      this.#prepare(query)
        .all(...args.map(toNode))
        .map((row) => toColumns(row) as T),
    run: (query, ...args) => {
      if (this.isFull && /^(INSERT|UPDATE|REPLACE)/.test(query)) throw new Error("The disk is full");
      this.#prepare(query).run(...args.map(toNode));
    },
  };

  transaction(work: () => void): void {
    this.#db.exec("SAVEPOINT work");
    try {
      work();
    } catch (error) {
      this.#db.exec("ROLLBACK TO work");
      throw error;
    } finally {
      this.#db.exec("RELEASE work");
    }
  }

  sync(): Promise<void> {
    const sync = Promise.withResolvers<void>();
    this.#unconfirmed.push(sync);
    return sync.promise;
  }

  /** All that was written survives a crash from here on. */
  commit(): void {
    this.#db.exec("COMMIT; BEGIN");
  }

  /** Commits, and resolves the oldest `syncs` that wait. */
  confirm(syncs = Number.POSITIVE_INFINITY): void {
    this.commit();
    for (const { resolve } of this.#unconfirmed.splice(0, syncs)) resolve();
  }

  /** The disk is full: the syncs that wait are rejected. */
  fail(error: Error): void {
    for (const { reject } of this.#unconfirmed.splice(0)) reject(error);
  }

  /** What was not committed is gone, and who waits for a sync is, too. */
  crash(): void {
    this.#unconfirmed = [];
    this.#db.exec("ROLLBACK; BEGIN");
  }

  #prepare(query: string): StatementSync {
    const known = this.#statements.get(query);
    if (known) return known;
    const statement = this.#db.prepare(query);
    this.#statements.set(query, statement);
    return statement;
  }
}

function toNode(value: SqlValue): Uint8Array | string | number | null {
  return value instanceof ArrayBuffer ? new Uint8Array(value) : value;
}

function toColumns(row: Record<string, unknown>): Record<string, SqlColumn> {
  const columns: Record<string, SqlColumn> = {};
  for (const name of Object.keys(row)) columns[name] = toColumn(row[name]);
  return columns;
}

function toColumn(value: unknown): SqlColumn {
  if (value === null || typeof value === "string" || typeof value === "number") return value;
  if (value instanceof Uint8Array) return new Uint8Array(value).buffer;
  throw new Error(`A column that the log does not use: ${typeof value}`);
}
