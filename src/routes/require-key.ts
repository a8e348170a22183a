/**
 * Who asks: the key of each request, and what becomes of a wrong one. A key that nobody was given is refused here, from
 * what it carries and the secrets; it wakes no object.
 */
import type { Context, Next } from "hono";
import { type Caller, invalidKey } from "../auth.ts";
import type { AppEnv } from "../context.ts";
import { ApiError } from "../errors.ts";
import { familyOf } from "../families.ts";
import { LOOKUP_PATH } from "../protocol.ts";
import { urlOf } from "../request/url.ts";
import { doorOf } from "../tenant/door.ts";

export async function requireKey(c: Context<AppEnv>, next: Next): Promise<void> {
  const caller = c.get("config").keyring.authenticate(c.req.raw.headers);
  if (!caller) throw await refuseKey(c);
  c.set("caller", caller);
  c.set("tenant", caller.tenant);
  await requireScope(c, caller);
  await next();
}

/** A generating POST is not asked about here: `admit` knows, and counts it. What else changes something asks anew. */
async function requireScope(c: Context<AppEnv>, caller: Caller): Promise<void> {
  const { method } = c.req.raw;
  const { pathname } = urlOf(c.req.raw);
  if (method === "POST" && familyOf(pathname) !== undefined) return;
  const door = doorOf(c.env);
  if (method === "GET" || method === "HEAD" || pathname === LOOKUP_PATH) await door.requireScope(caller, "read");
  else await door.requireScope(caller, "generate", 0);
}

/**
 * The error for a wrong key. Only failures count against an address, and only where the platform counts: a right key is
 * never refused for what its neighbour did.
 */
export async function refuseKey(c: Context<AppEnv>): Promise<ApiError> {
  const address = c.req.raw.headers.get("CF-Connecting-IP");
  if (!c.env.FAILED_KEYS || address === null) return invalidKey();
  const { success } = await c.env.FAILED_KEYS.limit({ key: address });
  if (success) return invalidKey();
  const message = "Too many wrong API keys from this address; the limit is in wrangler.toml";
  return new ApiError(429, "rate_limit_exceeded", message, { retryAfterSeconds: 60 });
}
