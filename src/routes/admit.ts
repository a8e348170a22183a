/** A generating request at its tenant's door, as the routes see it: see tenant/door.ts. */
import type { Context } from "hono";
import type { AppEnv } from "../context.ts";
import type { Admission } from "../tenant/admission.ts";
import { doorOf } from "../tenant/door.ts";

/** Starts asking: call it before the body is read. */
export function admit(c: Context<AppEnv>, conversation: string | undefined): Admission {
  return doorOf(c.env).admit(c.get("caller"), conversation, (work) => c.executionCtx.waitUntil(work));
}

/** A 200 says what is left of the limit. */
export function withHeaders(response: Response, headers: Readonly<Record<string, string>>): Response {
  const entries = Object.entries(headers);
  if (response.status !== 200 || entries.length === 0) return response;
  const answer = new Response(response.body, response);
  for (const [name, value] of entries) answer.headers.set(name, value);
  return answer;
}
