/** The gateway's owner, as the tests of keys and limits need one. */
import { call, type Options } from "../client.ts";

const OWNER_KEY = "key-of-the-owner";

export function order(method: string, path: string, body?: unknown, options: Options = {}): Promise<Response> {
  const text = body === undefined ? {} : { body: JSON.stringify(body) };
  return call(`/v1/admin${path}`, { method, key: OWNER_KEY, ...text, ...options });
}

/** A new key of the tenant. */
export async function issue(tenant: string, fields: Record<string, unknown> = {}): Promise<string> {
  const response = await order("POST", `/tenants/${tenant}/keys`, fields);
  const { key } = await response.json<{ key?: string }>();
  if (response.status !== 201 || key === undefined) throw new Error(`No key for ${tenant}: ${response.status}`);
  return key;
}

export async function limit(tenant: string, limits: Record<string, unknown>): Promise<void> {
  const response = await order("PATCH", `/tenants/${tenant}`, { limits });
  if (response.status !== 200) throw new Error(`No limits for ${tenant}: ${await response.text()}`);
}
