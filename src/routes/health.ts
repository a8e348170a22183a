import type { Context } from "hono";
import type { AppEnv } from "../context.ts";

/** The gateway itself is up. Public, so it asks nothing of the origin: a stranger cannot make it work. */
export function health(c: Context<AppEnv>): Response {
  return c.json({ status: "ok" });
}
