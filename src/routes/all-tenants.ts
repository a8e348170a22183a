/** What the owner asks of all tenants: their objects are asked some at a time, and need not all answer. */
import type { Context } from "hono";
import type { AppEnv } from "../context.ts";
import { askDirectory, DirectorySilent } from "../tenant/ask-directory.ts";
import { askTenant, TenantSilent } from "../tenant/ask-tenant.ts";

/** Tenants asked at a time. */
const CONCURRENCY = 32;
/** Until then questions are begun, and each ends within 2 s: all together take 10 s at most. */
const BEGUN_WITHIN_MS = 8_000;

type Stub = ReturnType<Env["TENANT"]["getByName"]>;

/** What is not in an answer about all tenants. */
export interface Unheard {
  /** `away`: the list of the tenants that were made did not answer, and only those of API_KEYS were asked. */
  readonly directory: "there" | "away";
  /** The tenants whose objects did not answer in time. */
  readonly missing: string[];
}

/** Those that were made, and those of API_KEYS. Throws DirectorySilent. */
export async function tenantNames(c: Context<AppEnv>): Promise<string[]> {
  const made = await askDirectory(c.env.DIRECTORY, (directory) => directory.list());
  return Array.from(new Set([...keyringTenants(c), ...made])).toSorted();
}

function keyringTenants(c: Context<AppEnv>): readonly string[] {
  return c.get("config").keyring.tenants;
}

/** Gives each answer to `take`, and resolves with what no answer came for. */
export async function askAll<T>(
  c: Context<AppEnv>,
  ask: (stub: Stub) => Promise<T>,
  take: (answer: T, tenant: string) => void,
): Promise<Unheard> {
  const deadline = Date.now() + BEGUN_WITHIN_MS;
  const { names, directory } = await namesThatAreKnown(c);
  const missing: string[] = [];
  const isHeard = async (name: string) => {
    try {
      take(await askTenant(c.env.TENANT, name, ask), name);
      return true;
    } catch (error) {
      if (!(error instanceof TenantSilent)) throw error;
      return false;
    }
  };
  const left = names.values();
  const askSome = async () => {
    for (const name of left) {
      if (Date.now() >= deadline || !(await isHeard(name))) missing.push(name);
    }
  };
  // All of them take from one iterator.
  await Promise.all(Array.from({ length: CONCURRENCY }, askSome));
  return { directory, missing: missing.toSorted() };
}

async function namesThatAreKnown(
  c: Context<AppEnv>,
): Promise<Pick<Unheard, "directory"> & { names: readonly string[] }> {
  try {
    return { names: await tenantNames(c), directory: "there" };
  } catch (error) {
    if (!(error instanceof DirectorySilent)) throw error;
    return { names: keyringTenants(c), directory: "away" };
  }
}
