/** GET /v1/usage: what the caller's tenant used, in the shape of OpenAI's usage page. */
import type { Context } from "hono";
import type { AppEnv } from "../context.ts";
import { badRequest } from "../errors.ts";
import { urlOf } from "../request/url.ts";
import { askTenant } from "../tenant/ask-tenant.ts";
import { parseUsageQuery, type TenantUsageRow, type UsageQuery, usagePage } from "../tenant/usage-page.ts";

export async function usage(c: Context<AppEnv>): Promise<Response> {
  const query = usageQuery(c);
  return c.json(usagePage(await usageOfTenant(c.env, c.get("caller").tenant, query), query));
}

export function usageQuery(c: Context<AppEnv>): UsageQuery {
  const query = parseUsageQuery(urlOf(c.req.raw).searchParams, Date.now());
  if (typeof query === "string") throw badRequest(query);
  return query;
}

export async function usageOfTenant(env: Env, name: string, query: UsageQuery): Promise<TenantUsageRow[]> {
  const rows = await askTenant(env.TENANT, name, (tenant) => tenant.usage(query.firstDay, query.endDay));
  return rows.map((row) => ({ ...row, tenant: name }));
}
