/**
 * The strict path: a request without a conversation goes to the origin, its answer comes back byte for byte, and nothing is
 * stored but its usage.
 */
import type { Context } from "hono";
import type { AppEnv } from "../context.ts";
import { ApiError } from "../errors.ts";
import { inTurn } from "../origin/in-turn.ts";
import { poolOf } from "../origin/pool.ts";
import { forward } from "../origin/strict.ts";
import { ORIGIN_HEADER } from "../protocol.ts";
import { readRequestFields } from "../request/body-fields.ts";
import { urlOf } from "../request/url.ts";
import { type Admission, strictUsage, watched } from "../tenant/admission.ts";
import { askTenant } from "../tenant/ask-tenant.ts";
import type { SessionUsage } from "../tenant/messages.ts";
import { report } from "../tenant/session-line.ts";
import { withHeaders } from "./admit.ts";
import { questionOf } from "./question.ts";
import { withBody } from "./with-body.ts";

/** For a pool of one origin, which nothing of the request can change. */
const NO_CHOICE = { model: undefined, key: "" };

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

/** To the origin's `path`, which is the one that was matched. */
export async function forwarded(c: Context<AppEnv>, path: string, read: Uint8Array): Promise<Response> {
  const pool = poolOf(c.get("config").origins);
  const request = c.req.raw;
  const { method, headers, signal } = request;
  // llama-server reads a body of GET or HEAD, and looks at none; the Fetch standard has no such body to send.
  const body = method === "GET" || method === "HEAD" || read.length === 0 ? undefined : read;
  const url = urlOf(request);
  const strict = { method, path: path + url.search, headers, body, signal };
  const question = pool.isChoice ? await questionOf(url, headers, body) : NO_CHOICE;
  return await inTurn(pool, question, signal, (origin) => forward(origin, strict));
}
