/**
 * What our objects need of a database: SQLite, in the Durable Object or in a test. Every statement runs to its end in the
 * call, so nothing stays open between two of them.
 */

/** A column as it is read; a blob is a buffer of its own. */
export type SqlColumn = ArrayBuffer | string | number | null;
/** A value as it is bound. */
export type SqlValue = SqlColumn | Uint8Array;

export interface Sql {
  /** The caller names the columns that its query selects. */
  all<T extends Record<string, SqlColumn>>(query: string, ...args: SqlValue[]): T[];
  run(query: string, ...args: SqlValue[]): void;
}

export interface LogStorage {
  readonly sql: Sql;
  /** All that `work` writes, or, when it throws, nothing. */
  transaction(work: () => void): void;
  /** Resolves when everything written so far survives a crash. */
  sync(): Promise<void>;
}
