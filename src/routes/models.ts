/** GET /v1/models: the origin's own list; of several origins all that they have, each row saying whose it is. */
import type { Context } from "hono";
import type { AppEnv } from "../context.ts";
import { originUnreachable } from "../errors.ts";
import { poolOf } from "../origin/pool.ts";
import { passthrough } from "./passthrough.ts";

export const MODELS_PATHS = ["/models", "/v1/models"] as const;

/** `path`: the one that was matched. */
export async function models(c: Context<AppEnv>, path: string): Promise<Response> {
  const pool = poolOf(c.get("config").origins);
  if (!pool.isChoice) return await passthrough(c, path);
  const list = await pool.models();
  if (!list) throw originUnreachable(new Error("No origin sent a list of models"));
  return c.json(list);
}
