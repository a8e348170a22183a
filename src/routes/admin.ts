/**
 * /v1/admin/…: the owner's routes, opened by ADMIN_KEY; without one there are none. A tenant is made with its first key or
 * limit: the directory is written first, so that it lists whatever exists.
 */
import { type Context, Hono } from "hono";
import { showsKey } from "../auth.ts";
import type { AppEnv } from "../context.ts";
import { ApiError, badRequest, notFound } from "../errors.ts";
import { readBody } from "../request/body.ts";
import type { BodyShare } from "../request/body-budget.ts";
import { askDirectory } from "../tenant/ask-directory.ts";
import { askTenant } from "../tenant/ask-tenant.ts";
import { isKeyName, isScope } from "../tenant/key-registry.ts";
import { issueKey, isTenantName } from "../tenant/keys.ts";
import { parseLimits } from "../tenant/limits.ts";
import type { OrderAnswer, Scope } from "../tenant/messages.ts";
import { type TenantUsageRow, usagePage } from "../tenant/usage-page.ts";
import { askAll, tenantNames } from "./all-tenants.ts";
import { sessions, status } from "./overview.ts";
import { refuseKey } from "./require-key.ts";
import { usageQuery } from "./usage.ts";

const MAX_BODY_BYTES = 65_536;
/** The owner's bodies are small, and few: no tenant's budget. */
const NO_BUDGET: BodyShare = { take: () => {} };
const MAX_EXPIRY_SECONDS = 100 * 365 * 86_400;

export const admin = new Hono<AppEnv>();

admin.use(async (c, next) => {
  const { adminKey } = c.get("config");
  if (adminKey === undefined) throw notFound();
  if (!showsKey(c.req.raw.headers, adminKey)) throw await refuseKey(c);
  await next();
});
admin.get("/tenants", listTenants);
admin.get("/tenants/:tenant", showTenant);
admin.patch("/tenants/:tenant", changeTenant);
admin.post("/tenants/:tenant/keys", addKey);
admin.patch("/tenants/:tenant/keys/:key", changeKey);
admin.delete("/tenants/:tenant/keys/:key", removeKey);
admin.get("/usage", usageOfAll);
admin.get("/status", status);
admin.get("/sessions", sessions);
admin.all("*", () => {
  throw notFound();
});

async function listTenants(c: Context<AppEnv>): Promise<Response> {
  return c.json({ object: "list", data: await tenantNames(c) });
}

async function showTenant(c: Context<AppEnv>): Promise<Response> {
  return c.json(await askTenant(c.env.TENANT, tenantOf(c), (tenant) => tenant.entry()));
}

/** `{"limits":{…}}`: `null` takes a limit away, those not named stay. */
async function changeTenant(c: Context<AppEnv>): Promise<Response> {
  const name = tenantOf(c);
  const limits = limitsIn(await jsonOf(c));
  await makeTenant(c, name);
  await order(c, name, (tenant) => tenant.setLimits(limits, undefined));
  return await showTenant(c);
}

/** `{"name","scopes","expires_in","limits"}`; answers with the key, which nobody can read again. */
async function addKey(c: Context<AppEnv>): Promise<Response> {
  const tenant = tenantOf(c);
  const { keySecrets } = c.get("config");
  if (keySecrets.length === 0) throw badRequest("No key can be issued: the gateway has no KEY_SECRET");
  const fields = await jsonOf(c);
  const { name = "default", expires_in: expiresIn } = fields;
  if (typeof name !== "string" || !isKeyName(name)) {
    throw badRequest('"name" must be 1 to 64 of A-Z a-z 0-9 _ . -, and not API_KEYS');
  }
  const limits = parseLimits(fields.limits ?? {});
  if (typeof limits === "string") throw badRequest(limits);
  const scopes = scopesIn(fields);
  const expiresAt = expiryIn(expiresIn);
  await makeTenant(c, tenant);
  const { key, hash } = issueKey(tenant, keySecrets);
  const entry = { hash, name, scopes, limits, ...(expiresAt !== undefined && { expiresAt }) };
  await order(c, tenant, (stub) => stub.addKey(entry));
  return c.json({ tenant, name, key }, 201, { "Cache-Control": "no-store" });
}

async function changeKey(c: Context<AppEnv>): Promise<Response> {
  const limits = limitsIn(await jsonOf(c));
  await order(c, tenantOf(c), (tenant) => tenant.setLimits(limits, keyOf(c)));
  return await showTenant(c);
}

async function removeKey(c: Context<AppEnv>): Promise<Response> {
  await order(c, tenantOf(c), (tenant) => tenant.removeKey(keyOf(c)));
  return c.body(null, 204);
}

async function usageOfAll(c: Context<AppEnv>): Promise<Response> {
  const query = usageQuery(c);
  const rows: TenantUsageRow[] = [];
  const unheard = await askAll(
    c,
    (tenant) => tenant.usage(query.firstDay, query.endDay),
    (ofTenant, tenant) => {
      for (const row of ofTenant) rows.push({ ...row, tenant });
    },
  );
  return c.json({ ...usagePage(rows, query), ...unheard });
}

async function makeTenant(c: Context<AppEnv>, name: string): Promise<void> {
  if (c.get("config").keyring.tenants.includes(name)) return;
  const { problem } = await askDirectory(c.env.DIRECTORY, (directory) => directory.add(name));
  if (problem !== undefined) throw new ApiError(409, "invalid_request_error", "There are too many tenants");
}

async function order(
  c: Context<AppEnv>,
  name: string,
  give: (tenant: ReturnType<Env["TENANT"]["getByName"]>) => Promise<OrderAnswer>,
): Promise<void> {
  const { problem, message } = await askTenant(c.env.TENANT, name, give);
  switch (problem) {
    case undefined:
      return;
    case "unknown":
      throw notFound(`Tenant "${name}" has no such key`);
    case "exists":
      throw new ApiError(409, "invalid_request_error", `Tenant "${name}" has a key of this name; remove it first`);
    case "too_many":
      throw new ApiError(409, "invalid_request_error", `Tenant "${name}" has too many keys; remove some first`);
    case "invalid":
      throw badRequest(message ?? "The limits are wrong");
    default:
      problem satisfies never;
  }
}

function tenantOf(c: Context<AppEnv>): string {
  const name = c.req.param("tenant") ?? "";
  if (!isTenantName(name)) throw badRequest("A tenant must be 1 to 64 of A-Z a-z 0-9 _ . -");
  return name;
}

function keyOf(c: Context<AppEnv>): string {
  return c.req.param("key") ?? "";
}

async function jsonOf(c: Context<AppEnv>): Promise<Record<string, unknown>> {
  const body = new TextDecoder().decode(await readBody(c.req.raw, MAX_BODY_BYTES, NO_BUDGET));
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch (error) {
    throw badRequest(`invalid body: ${error instanceof Error ? error.message : error}`);
  }
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw badRequest("The body must be a JSON object");
  return { ...json };
}

/** Checked here, so that a wrong one makes no tenant. */
function limitsIn({ limits }: Record<string, unknown>): object {
  const problem = parseLimits(limits);
  if (typeof problem === "string") throw badRequest(problem);
  return typeof limits === "object" && limits !== null ? { ...limits } : {};
}

function scopesIn({ scopes = ["read", "generate"] }: Record<string, unknown>): Scope[] {
  if (!Array.isArray(scopes) || scopes.length === 0 || !scopes.every(isScope)) {
    throw badRequest('"scopes" must be a list of "read" and "generate"');
  }
  return Array.from(new Set(scopes));
}

/** Unix milliseconds. */
function expiryIn(seconds: unknown): number | undefined {
  if (seconds === undefined || seconds === null) return undefined;
  if (typeof seconds !== "number" || !Number.isInteger(seconds) || seconds < 1 || seconds > MAX_EXPIRY_SECONDS) {
    throw badRequest(`"expires_in" must be a number of seconds from 1 to ${MAX_EXPIRY_SECONDS}`);
  }
  return Date.now() + 1_000 * seconds;
}
