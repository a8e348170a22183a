/** The storage of a Durable Object, as what is kept in it sees it. */
import type { LogStorage, SqlColumn, SqlValue } from "./sql.ts";

export function storageOf(storage: DurableObjectStorage): LogStorage {
  const { sql } = storage;
  return {
    sql: {
      // To the last row: a cursor that is left open keeps its statement, and the next call has to prepare another one.
      all: <T extends Record<string, SqlColumn>>(query: string, ...args: SqlValue[]) =>
        sql.exec<T>(query, ...args).toArray(),
      run: (query, ...args) => void sql.exec(query, ...args),
    },
    transaction: (work) => storage.transactionSync(work),
    sync: () => storage.sync(),
  };
}
