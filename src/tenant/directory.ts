/**
 * The Durable Object that lists the tenants that the owner made: one object, outside the tenants' name space, so that no
 * tenant's name can be its own. Written when a tenant is made, read by admin routes only. The tenant's object is written
 * after it: the list is a superset.
 */
import { DurableObject } from "cloudflare:workers";
import type { OrderAnswer } from "./messages.ts";

/** The name of the one object. */
export const DIRECTORY_NAME = "tenants";
const MAX_TENANTS = 10_000;
const SCHEMA_VERSION = 1;

export class Directory extends DurableObject<Env> {
  list(): string[] {
    if (!this.#hasTables()) return [];
    return this.ctx.storage.sql
      .exec<{ name: string }>("SELECT name FROM tenant ORDER BY name")
      .toArray()
      .map(({ name }) => name);
  }

  /** Does nothing where it is listed already. */
  add(tenant: string): OrderAnswer {
    if (!this.#hasTables()) this.#createTables();
    const { sql } = this.ctx.storage;
    const count = Number(sql.exec("SELECT count(*) AS count FROM tenant WHERE name <> ?", tenant).one().count);
    if (count >= MAX_TENANTS) return { problem: "too_many" };
    sql.exec("INSERT OR IGNORE INTO tenant (name) VALUES (?)", tenant);
    return {};
  }

  #hasTables(): boolean {
    return this.ctx.storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'tenant'").toArray().length > 0;
  }

  #createTables(): void {
    const { sql } = this.ctx.storage;
    sql.exec("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID");
    sql.exec("INSERT INTO meta (name, value) VALUES ('version', ?)", String(SCHEMA_VERSION));
    sql.exec("CREATE TABLE tenant (name TEXT PRIMARY KEY) WITHOUT ROWID");
  }
}
