/** GET /v1/usage: what the caller's tenant used, in the shape of OpenAI's usage page. */
import type { Context } from "hono";
import type { AppEnv } from "../context.ts";
import { badRequest } from "../errors.ts";
import { urlOf } from "../request/url.ts";
import { askTenant } from "../tenant/ask-tenant.ts";
import { parseUsageQuery, type TenantUsageRow, type UsageQuery, usagePage } from "../tenant/usage-page.ts";

export async function usage(c: Context<AppEnv>): Promise<Response> {
  const query = usageQuery(c);
  const { tenant } = c.get("caller");
  const rows = await askTenant(c.env.TENANT, tenant, (stub) => stub.usage(query.firstDay, query.endDay));
  return c.json(
    usagePage(
      rows.map((row): TenantUsageRow => ({ ...row, tenant })),
      query,
    ),
  );
}

export function usageQuery(c: Context<AppEnv>): UsageQuery {
  const query = parseUsageQuery(urlOf(c.req.raw).searchParams, Date.now());
  if (typeof query === "string") throw badRequest(query);
  return query;
}
