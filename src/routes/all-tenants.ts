/** What the owner asks of all tenants: their objects are asked some at a time, and need not all answer. */
import type { Context } from "hono";
import type { AppEnv } from "../context.ts";
import { askTenant, TenantSilent } from "../tenant/ask-tenant.ts";
import { DIRECTORY_NAME } from "../tenant/directory.ts";

/** Tenants asked at a time. */
const CONCURRENCY = 32;
/** How long all of them together may take where some may be missing. */
const PATIENCE_MS = 10_000;

type Stub = ReturnType<Env["TENANT"]["getByName"]>;

/** Those that were made, and those of API_KEYS. */
export async function tenantNames(c: Context<AppEnv>): Promise<string[]> {
  const made = await c.env.DIRECTORY.getByName(DIRECTORY_NAME).list();
  return Array.from(new Set([...c.get("config").keyring.tenants, ...made])).toSorted();
}

export async function forEachTenant(c: Context<AppEnv>, work: (tenant: string) => Promise<void>): Promise<void> {
  const names = (await tenantNames(c)).values();
  const take = async () => {
    for (const name of names) await work(name);
  };
  // All of them take from one iterator.
  await Promise.all(Array.from({ length: CONCURRENCY }, take));
}

/** Gives each answer to `take`; resolves with the names of the tenants whose objects did not answer in time. */
export async function askAll<T>(
  c: Context<AppEnv>,
  ask: (stub: Stub) => Promise<T>,
  take: (answer: T, tenant: string) => void,
): Promise<string[]> {
  const deadline = Date.now() + PATIENCE_MS;
  const missing: string[] = [];
  await forEachTenant(c, async (tenant) => {
    if (Date.now() >= deadline) {
      missing.push(tenant);
      return;
    }
    try {
      take(await askTenant(c.env.TENANT, tenant, ask), tenant);
    } catch (error) {
      if (!(error instanceof TenantSilent)) throw error;
      missing.push(tenant);
    }
  });
  return missing.toSorted();
}
