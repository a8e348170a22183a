/** The strict path: the request goes to the origin, its answer comes back byte for byte, nothing is stored. */
import type { Context } from "hono";
import type { AppEnv } from "../context.ts";
import { notFound } from "../errors.ts";
import { forward } from "../origin/strict.ts";
import { readBody } from "./request-body.ts";

/**
 * What a client needs and what neither shows nor changes the server's state. Everything else is the owner's to open
 * (EXTRA_ROUTES): /slots and /metrics show other people's work, POST /props, /lora-adapters and /models/load change
 * the server, /tools and /cors-proxy reach beyond it.
 */
export const PASSTHROUGH_ROUTES: readonly (readonly [method: "GET" | "POST", path: string])[] = [
  ["GET", "/models"],
  ["GET", "/v1/models"],
  ["GET", "/props"],
  ["POST", "/v1/chat/completions/control"],
  ["POST", "/v1/chat/completions/input_tokens"],
  ["POST", "/chat/completions/input_tokens"],
  ["POST", "/v1/responses/input_tokens"],
  ["POST", "/responses/input_tokens"],
  ["POST", "/v1/messages/count_tokens"],
  ["POST", "/tokenize"],
  ["POST", "/detokenize"],
  ["POST", "/apply-template"],
  ["POST", "/v1/embeddings"],
  ["POST", "/embeddings"],
  ["POST", "/embedding"],
  ["POST", "/v1/rerank"],
  ["POST", "/v1/reranking"],
  ["POST", "/rerank"],
  ["POST", "/reranking"],
  ["POST", "/v1/audio/transcriptions"],
  ["POST", "/audio/transcriptions"],
];

export async function passthrough(c: Context<AppEnv>): Promise<Response> {
  const { origin, maxRequestBytes } = c.get("config");
  const request = c.req.raw;
  // llama-server reads the whole body before it does anything, so nothing is gained by handing it on in pieces.
  const body = request.body ? await readBody(request, maxRequestBytes) : undefined;
  return await forward(origin, request, body);
}

/** A route that is closed unless the owner's configuration names it. */
export async function passthroughIfOpened(c: Context<AppEnv>): Promise<Response> {
  const asked = `${c.req.raw.method}:${new URL(c.req.url).pathname}`;
  const isOpen = c
    .get("config")
    .extraRoutes.some((route) => (route.endsWith("*") ? asked.startsWith(route.slice(0, -1)) : asked === route));
  if (!isOpen) throw notFound();
  return await passthrough(c);
}
