/**
 * A request that the gateway keeps nothing of, to the origins that may answer it, one after the other until one does. Safe to
 * send again: with its connection a generation at the origin before has ended, and no byte of an answer was passed on.
 */
import { ApiError, modelNotFound } from "../errors.ts";
import { ORIGIN_HEADER } from "../protocol.ts";
import type { Question } from "./choose.ts";
import { isUntaken, STALE_CONNECTION_MS } from "./origin.ts";
import type { OriginConfig } from "./origins-config.ts";
import type { OriginPool } from "./pool.ts";
import type { PooledOrigin } from "./pooled-origin.ts";

/**
 * `send` makes one try: it gives the origin's answer, a new Response, whatever its status, and throws an ApiError when there is none. The
 * last try's outcome counts; the answer names the origins that were tried.
 */
export async function inTurn(
  pool: OriginPool,
  question: Question,
  signal: AbortSignal,
  send: (origin: OriginConfig) => Promise<Response>,
): Promise<Response> {
  if (!pool.isKnown) await pool.learn();
  const names = pool.rank(question);
  for (const [i, name] of names.entries()) {
    const isLast = i === names.length - 1;
    const response = await tryOne(pool, name, signal, isLast, send);
    if (!response) continue;
    response.headers.set(ORIGIN_HEADER, names.slice(0, i + 1).join(", "));
    return response;
  }
  throw modelNotFound(question.model);
}

/** `undefined`: another origin may answer. */
async function tryOne(
  pool: OriginPool,
  name: string,
  signal: AbortSignal,
  isLast: boolean,
  send: (origin: OriginConfig) => Promise<Response>,
): Promise<Response | undefined> {
  const origin = pool.get(name);
  if (!origin) return undefined;
  try {
    const response = await sendTo(origin, signal, send);
    const { status } = response;
    if (status === 502 || isUntaken(status)) origin.failed();
    // Not marked as away for a 503: a client can bring some of those about.
    else if (status !== 503) origin.answered();
    if (isLast || !(status === 502 || status === 503 || isUntaken(status))) return response;
    await response.body?.cancel();
    logNext(name, status);
  } catch (error) {
    if (isLast || !(error instanceof NotTaken)) throw error instanceof NotTaken ? error.cause : error;
    logNext(name, error.message);
  }
  return undefined;
}

/** The origin does not have the request. */
class NotTaken extends Error {
  constructor(cause: Error) {
    super(cause.message, { cause });
  }
}

/**
 * Where a connection fails at once, asks the origin whether it is there. If so, the server had just closed the connection, or
 * the network had, and the request is sent once more: a generation that had begun has ended with its connection. If not, the
 * origin is marked as away. What it had for longer may be what broke it: that is not sent again, and to nobody else.
 */
async function sendTo(
  origin: PooledOrigin,
  signal: AbortSignal,
  send: (origin: OriginConfig) => Promise<Response>,
): Promise<Response> {
  const startedAt = Date.now();
  try {
    return await send(origin.config);
  } catch (error) {
    if (signal.aborted || !(error instanceof ApiError)) throw error;
    // Without a cause no connection failed: something answered in the origin's place, or it rejected our key.
    if (error.cause === undefined) origin.failed();
    else if (Date.now() - startedAt > STALE_CONNECTION_MS) throw error;
    else if (await origin.isThere()) return await send(origin.config);
    throw new NotTaken(error);
  }
}

function logNext(origin: string, why: number | string): void {
  console.log(JSON.stringify({ event: "next_origin", origin, why }));
}
