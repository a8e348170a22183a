/** POST /v1/streams/lookup: which of these conversations have a session, and how far it is. */
import type { Context } from "hono";
import type { AppEnv } from "../context.ts";
import { conversationOf, type LookupRow, MAX_CONVERSATION_ID_BYTES, MAX_LOOKUP_IDS } from "../protocol.ts";
import { readLookupIds } from "../request/body-fields.ts";
import { askConversation, isConversationId } from "./conversation-stub.ts";
import { withBody } from "./with-body.ts";

/** Room for MAX_LOOKUP_IDS of the longest ids, some of them escaped. */
const MAX_LOOKUP_BYTES = 8_388_608;
/** Objects asked at a time: a long list is not to open a thousand connections. */
const CONCURRENCY = 32;

export async function lookup(c: Context<AppEnv>): Promise<Response> {
  return await withBody(c, async (body) => c.json(await rowsOf(c, body)), MAX_LOOKUP_BYTES);
}

async function rowsOf(c: Context<AppEnv>, body: Uint8Array): Promise<LookupRow[]> {
  const ids = (await readLookupIds(body, MAX_LOOKUP_IDS, MAX_CONVERSATION_ID_BYTES)).filter(isConversationId);
  const rows = new Array<LookupRow | undefined>(ids.length);
  const remaining = positionsByConversation(ids).values();
  const ask = async () => {
    for (const positions of remaining) {
      const asked = positions.map((position) => ids[position] ?? "");
      const found = await askConversation(c, asked[0] ?? "", (stub) => stub.lookup(asked));
      for (const [i, position] of positions.entries()) rows[position] = found[i];
    }
  };
  // All of them take from one iterator, so each conversation is asked once.
  await Promise.all(Array.from({ length: CONCURRENCY }, ask));
  return rows.filter((row) => row !== undefined);
}

/** Ids of one conversation are one question. */
function positionsByConversation(ids: readonly string[]): Map<string, number[]> {
  return Map.groupBy(ids.keys(), (position) => conversationOf(ids[position] ?? ""));
}
