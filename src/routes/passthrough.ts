/** The routes that are passed through to the origin: which they are, and which the owner opens. */
import type { Context } from "hono";
import type { AppEnv } from "../context.ts";
import { ApiError, notFound } from "../errors.ts";
import { urlOf } from "../request/url.ts";
import { forwarded } from "./strict.ts";
import { withBody } from "./with-body.ts";

/**
 * What a client needs and what neither shows nor changes the server's state. Everything else is the owner's to open
 * (EXTRA_ROUTES): /slots and /metrics show other people's work, POST /props, /lora-adapters and /models/load change
 * the server, /tools and /cors-proxy reach beyond it.
 */
export const PASSTHROUGH_ROUTES: readonly (readonly [method: "GET" | "POST", path: string])[] = [
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

/** What llama-server itself keeps closed unless it was started with them, and says so. */
const FEATURE_PATHS: ReadonlySet<string> = new Set(["/tools", "/cors-proxy"]);

/** Sends the request to the origin's `path`, which is the one that was matched. */
export async function passthrough(c: Context<AppEnv>, path: string): Promise<Response> {
  // llama-server reads the whole body before it does anything, so nothing is gained by handing it on in pieces.
  return await withBody(c, (body) => forwarded(c, path, body));
}

/** A route that is closed unless the owner's configuration names it. */
export async function passthroughIfOpened(c: Context<AppEnv>): Promise<Response> {
  const { method } = c.req.raw;
  const path = urlOf(c.req.raw).pathname;
  if (c.get("config").extraRoutes.some((route) => opens(route, method, path))) return await passthrough(c, path);
  if (FEATURE_PATHS.has(path) && (method === "GET" || method === "POST")) {
    throw new ApiError(403, "feature_disabled", "this feature is disabled");
  }
  throw notFound("No such route, or not opened by EXTRA_ROUTES");
}

function opens(route: string, method: string, path: string): boolean {
  const asked = `${method}:${path}`;
  if (!route.endsWith("*")) return asked === route;
  // An encoded slash or dot may lead out of the opened folder at whoever decodes it.
  return asked.startsWith(route.slice(0, -1)) && !/%(?:2e|2f|5c|00)/i.test(path);
}
