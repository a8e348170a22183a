/** GET, HEAD and DELETE on `/v1/stream`, by query (`?conv_id=<id>`) and by path (`/v1/stream/<id>`). */
import type { Context } from "hono";
import type { AppEnv } from "../context.ts";
import { encodeReplay } from "../conversation/messages.ts";
import { badRequest, fenced, unknownSession } from "../errors.ts";
import { conversationOf, decodePathId, parseOffset, STREAM_PATH } from "../protocol.ts";
import { urlOf } from "../request/url.ts";
import { doorOf } from "../tenant/door.ts";
import { checkConversationId } from "./conversation-id.ts";
import { askConversation } from "./conversation-stub.ts";

export async function replay(c: Context<AppEnv>): Promise<Response> {
  const url = urlOf(c.req.raw);
  const id = conversationId(url);
  if (!(await mayExist(c, id))) throw unknownSession();
  const message = encodeReplay({
    id,
    // Of several, the last counts, as in llama-server.
    from: parseOffset(url.searchParams.getAll("from").at(-1) ?? null),
    session: sessionFence(url),
    isHead: c.req.raw.method === "HEAD",
  });
  const answer = await askConversation(c, id, (stub) => stub.fetch(message.clone()));
  if (answer.status === 404) doorOf(c.env).noteUnknown(c.get("caller"));
  return answer;
}

export async function stop(c: Context<AppEnv>): Promise<Response> {
  const url = urlOf(c.req.raw);
  const id = conversationId(url);
  if (!(await mayExist(c, id))) return c.body(null, 204);
  const session = sessionFence(url);
  const { replacedBy, found } = await askConversation(c, id, (stub) => stub.stop({ id, session }));
  if (!found) doorOf(c.env).noteUnknown(c.get("caller"));
  if (session !== undefined && replacedBy !== undefined) throw fenced(session, replacedBy);
  return c.body(null, 204);
}

/** Asks the tenant's index only where the tenant has named many conversations that do not exist: each wakes an object. */
async function mayExist(c: Context<AppEnv>, id: string): Promise<boolean> {
  return await doorOf(c.env).mayExist(c.get("caller"), conversationOf(id));
}

/** The session that the request is about, where the client names one. */
function sessionFence(url: URL): string | undefined {
  return url.searchParams.get("session") ?? undefined;
}

function conversationId(url: URL): string {
  const inPath = url.pathname.slice(`${STREAM_PATH}/`.length);
  const id = inPath === "" ? url.searchParams.getAll("conv_id").at(-1) : decodePathId(inPath);
  // llama-server's words, for the query form too.
  if (!id) throw badRequest("Missing conversation id in path");
  checkConversationId(id);
  return id;
}
