/**
 * POST /v1/streams/lookup: which of these conversations have a session, and how far it is. One question to the tenant's
 * index, which has the rows of what has ended, and one to each conversation that may be live.
 */
import type { Context } from "hono";
import type { AppEnv } from "../context.ts";
import {
  conversationOf,
  type LookupRow,
  lookupMatches,
  MAX_CONVERSATION_ID_BYTES,
  MAX_LOOKUP_IDS,
} from "../protocol.ts";
import { readLookupIds } from "../request/body-fields.ts";
import { doorOf } from "../tenant/door.ts";
import { isConversationId } from "./conversation-id.ts";
import { askConversation } from "./conversation-stub.ts";
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
  if (ids.length === 0) return [];
  const positions = positionsByConversation(ids);
  const { rows: ended, live } = await doorOf(c.env).lookup(c.get("caller"), Array.from(positions.keys()));
  const rows = new Array<LookupRow | undefined>(ids.length);
  for (const row of ended) {
    for (const position of positions.get(conversationOf(row.conversation_id)) ?? []) {
      if (lookupMatches(ids[position] ?? "", row.conversation_id)) rows[position] = row;
    }
  }
  const remaining = live.values();
  const ask = async () => {
    for (const conversation of remaining) {
      const at = positions.get(conversation) ?? [];
      const asked = at.map((position) => ids[position] ?? "");
      const found = await askConversation(c, conversation, (stub) => stub.lookup(asked));
      for (const [i, position] of at.entries()) rows[position] = found[i];
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
