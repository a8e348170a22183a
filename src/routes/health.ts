import type { Context } from "hono";
import { problemOf } from "../config.ts";
import type { AppEnv } from "../context.ts";

/** The gateway itself is up. Public, so it asks nothing of the origin: a stranger cannot make it work. */
export function health(c: Context<AppEnv>): Response {
  const problem = problemOf(c.env);
  // Without usable keys nobody gets in, and the gateway is up all the same.
  if (problem && problem.setting !== "API_KEYS") throw problem;
  return c.json({ status: "ok" });
}
