/** A generating request at its tenant's door, as the routes see it: see tenant/door.ts. */
import type { Context } from "hono";
import type { AppEnv } from "../context.ts";
import { ApiError } from "../errors.ts";
import { ORIGIN_HEADER } from "../protocol.ts";
import { readRequestFields } from "../request/body-fields.ts";
import { type Admission, strictUsage, watched } from "../tenant/admission.ts";
import { askTenant } from "../tenant/ask-tenant.ts";
import { doorOf } from "../tenant/door.ts";
import type { SessionUsage } from "../tenant/messages.ts";
import { report } from "../tenant/session-line.ts";
import { forwarded } from "./passthrough.ts";
import { withBody } from "./with-body.ts";

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

/**
 * The strict path's answer. Where live answers are counted, its slot is held until its last byte; else nobody waits for
 * its end, and how long it took is not known.
 */
export async function answerStrictly(c: Context<AppEnv>, path: string, admission: Admission): Promise<Response> {
  const startedAt = Date.now();
  return await withBody(c, async (body) => {
    const model = await modelIn(body);
    const { key, ticket, limitHeaders } = await admission.granted(body.length, model);
    const response = await forwarded(c, path, body);
    // The last of those that were tried.
    const origin = response.headers.get(ORIGIN_HEADER)?.split(", ").at(-1);
    const counted = { key, model, origin, isOk: response.ok, startedAt, headAt: Date.now() };
    if (ticket === undefined) {
      c.executionCtx.waitUntil(count(c, strictUsage(counted)));
      return withHeaders(response, limitHeaders);
    }
    const { response: answer, ended } = watched(response);
    const release = admission.answering();
    const finish = async () => {
      await ended;
      release();
      await count(c, strictUsage(counted, Date.now()));
    };
    c.executionCtx.waitUntil(finish());
    return withHeaders(answer, limitHeaders);
  });
}

async function count(c: Context<AppEnv>, usage: SessionUsage): Promise<void> {
  const { tenant } = c.get("caller");
  report({ tenant, usage }, c.env.USAGE);
  await askTenant(c.env.TENANT, tenant, (stub) => stub.counted(usage));
}

/** On the strict path the origin judges the body, so one that cannot be read names no model. */
async function modelIn(body: Uint8Array): Promise<string | undefined> {
  try {
    return (await readRequestFields(body)).model;
  } catch (error) {
    if (error instanceof ApiError) return undefined;
    throw error;
  }
}
