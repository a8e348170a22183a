/** GET, HEAD and DELETE on `/v1/stream`, by query (`?conv_id=<id>`) and by path (`/v1/stream/<id>`). */
import type { Context } from "hono";
import type { AppEnv } from "../app.ts";
import { badRequest, notFound } from "../errors.ts";
import { decodePathId, STREAM_PATH } from "../protocol.ts";
import { askConversation, checkConversationId } from "./conversation-stub.ts";

export async function replay(c: Context<AppEnv>): Promise<Response> {
  const url = new URL(c.req.url);
  const id = conversationId(url);
  const query = new URLSearchParams({ id });
  // Of several, the last counts, as in llama-server.
  const from = url.searchParams.getAll("from").at(-1);
  if (from !== undefined) query.set("from", from);
  const session = url.searchParams.get("session");
  if (session !== null) query.set("session", session);
  const { method } = c.req.raw;
  return await askConversation(c, id, (stub) => stub.fetch(`https://conversation/replay?${query}`, { method }));
}

export async function stop(c: Context<AppEnv>): Promise<Response> {
  const id = conversationId(new URL(c.req.url));
  await askConversation(c, id, (stub) => stub.stop(id));
  return c.body(null, 204);
}

function conversationId(url: URL): string {
  // The router compares decoded paths; an id is cut out of the path as it was sent.
  if (url.pathname !== STREAM_PATH && !url.pathname.startsWith(`${STREAM_PATH}/`)) throw notFound();
  const inPath = url.pathname.slice(`${STREAM_PATH}/`.length);
  const id = inPath === "" ? url.searchParams.getAll("conv_id").at(-1) : decodePathId(inPath);
  // llama-server's words, for the query form too.
  if (!id) throw badRequest("Missing conversation id in path");
  checkConversationId(id);
  return id;
}
