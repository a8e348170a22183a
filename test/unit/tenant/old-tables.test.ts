/** Tables that a gateway made before it counted by origin, and such a gateway on the tables of this one. */
import { expect, it } from "vitest";
import { Ledger } from "../../../src/tenant/ledger.ts";
import { liveList, originShares } from "../../../src/tenant/overview.ts";
import { NodeStorage } from "../support/node-storage.ts";

const DAY = 20_000;
const NOW = DAY * 86_400_000;

/** As 90e9a59 makes them, with a live session and the usage of a day. */
const OLD_TABLES = `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE key (hash TEXT PRIMARY KEY, name TEXT NOT NULL, created_at INTEGER NOT NULL, used_day INTEGER,
     expires_at INTEGER, scopes TEXT NOT NULL, limits TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE accepted (at INTEGER NOT NULL, key TEXT NOT NULL);
  CREATE TABLE live (conversation TEXT PRIMARY KEY, session TEXT NOT NULL, key TEXT NOT NULL,
     started_at INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE ended (conversation TEXT PRIMARY KEY, session TEXT NOT NULL, key TEXT NOT NULL, row TEXT NOT NULL, bytes INTEGER NOT NULL,
     expires_at INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE hold (holder TEXT PRIMARY KEY, slot TEXT NOT NULL, key TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE usage (day INTEGER NOT NULL, model TEXT NOT NULL, key TEXT NOT NULL, requests INTEGER NOT NULL,
     unknown INTEGER NOT NULL, input INTEGER NOT NULL, cached INTEGER NOT NULL, output INTEGER NOT NULL,
     duration_ms INTEGER NOT NULL, first_byte_ms INTEGER NOT NULL, ends TEXT NOT NULL,
     PRIMARY KEY (day, model, key)) WITHOUT ROWID;
  INSERT INTO meta VALUES ('version', '1');
  INSERT INTO live VALUES ('c', 's', 'phone', ${NOW - 60_000}, 500);
  INSERT INTO usage VALUES (${DAY}, 'qwen', 'phone', 7, 0, 10, 0, 20, 700, 70, '{"done":7}');
`;

/** As 90e9a59 writes them. */
const OLD_WRITES = [
  "INSERT OR REPLACE INTO live (conversation, session, key, started_at, bytes) VALUES ('d', 't', 'phone', 1, 2)",
  `INSERT OR REPLACE INTO usage (day, model, key, requests, unknown, input, cached, output, duration_ms, first_byte_ms,
     ends) VALUES (${DAY}, 'qwen', 'phone', 8, 0, 10, 0, 20, 700, 70, '{"done":8}')`,
];

function open(storage: NodeStorage): Ledger {
  return new Ledger({ sql: storage.sql, now: () => NOW, tenant: "alice", defaultBytes: 2 ** 40 });
}

it("tables of before are read, and count by origin from then on", () => {
  const storage = new NodeStorage(OLD_TABLES);
  const ledger = open(storage);
  const old = { session: "s", key: "phone", model: null, origin: null, bytes: 500, reattached: 0 };
  expect(liveList(ledger, 10).sessions).toMatchObject([old]);
  expect(originShares(ledger, DAY)).toEqual(new Map());
  ledger.counted({ key: "phone", model: "qwen", end: "strict", at: NOW, origin: "attic" });
  const today = { requests: 1, reattached: 0, ends: { strict: 1 } };
  expect(originShares(ledger, DAY)).toEqual(new Map([["attic", { live: 0, today, last_7_days: today }]]));
  expect(ledger.usage?.read(DAY, DAY + 1)).toMatchObject([{ requests: 8, ends: { done: 7, strict: 1 }, output: 20 }]);
  storage.commit();
  storage.crash();
  expect(open(storage).usage?.read(DAY, DAY + 1)).toMatchObject([{ requests: 8 }]);
});

it("a gateway that is rolled back to before writes into the tables of this one, and this one reads on", () => {
  const storage = new NodeStorage(OLD_TABLES);
  open(storage);
  for (const write of OLD_WRITES) storage.sql.run(write);
  const ledger = open(storage);
  expect(liveList(ledger, 10).total).toBe(2);
  expect(ledger.usage?.read(DAY, DAY + 1)).toMatchObject([{ requests: 8, ends: { done: 8 } }]);
});
