/** What a request on the strict path says of where it is to go: its model, and what its prompt cache belongs to. */
import { affinityKey } from "../origin/affinity.ts";
import type { Question } from "../origin/choose.ts";
import { type JsonRange, type RequestFields, readRequestFields } from "../request/body-fields.ts";

export async function questionOf(url: URL, headers: Headers, body: Uint8Array | undefined): Promise<Question> {
  const fields = body && (await fieldsIn(body));
  const range: JsonRange | undefined = fields?.messages ?? fields?.prompt ?? fields?.input;
  const prompt = range && body?.subarray(range.start, range.end);
  const model = fields?.model ?? url.searchParams.get("model") ?? undefined;
  return { model, key: affinityKey(headers, fields?.promptCacheKey, prompt) };
}

/** A body that is no JSON object, an audio file for one, names no model here: whoever gets it judges it. */
async function fieldsIn(body: Uint8Array): Promise<RequestFields | undefined> {
  try {
    return await readRequestFields(body);
  } catch {
    return undefined;
  }
}
