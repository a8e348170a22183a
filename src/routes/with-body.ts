/** The one way in which a route gets its request's body. */
import type { Context } from "hono";
import type { AppEnv } from "../context.ts";
import { readBody } from "../request/body.ts";
import { BodyBudget } from "../request/body-budget.ts";

/** Of this isolate. */
const budget = new BodyBudget();

/** Reads the whole body, within the tenant's budget until `use` has its answer. */
export async function withBody(
  c: Context<AppEnv>,
  use: (body: Uint8Array) => Promise<Response>,
  mostBytes = Number.POSITIVE_INFINITY,
): Promise<Response> {
  const { maxRequestBytes, maxTenantRequestBytes } = c.get("config");
  return await budget.share(c.get("tenant"), maxTenantRequestBytes, async (share) =>
    use(await readBody(c.req.raw, Math.min(maxRequestBytes, mostBytes), share)),
  );
}
