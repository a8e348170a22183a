/**
 * What any part of the gateway may know of a request's body: a few top-level fields, found by one pass over the bytes.
 * Nothing is built, and a long body is read in slices with other work in between: the thread belongs to everybody.
 *
 * Names are read as llama-server reads them: `"str\u0065am"` is `stream`, of several the last counts, and what is nested
 * deeper is never looked at.
 */
import { badRequest } from "../errors.ts";
import { firstByteOf, JsonError, type JsonKind, JsonScanner, kindOf, type VisitChild } from "./json-scanner.ts";

/** Where a value is in the body. */
export interface JsonRange {
  readonly kind: JsonKind;
  readonly start: number;
  readonly end: number;
}

/** The fields of a generating request. Values for what the gateway acts on; ranges for what it only looks at or hashes. */
export interface RequestFields {
  /** Whether it is `true`: what is no boolean is the origin's to refuse. */
  readonly stream: boolean;
  readonly model: string | undefined;
  readonly promptCacheKey: string | undefined;
  readonly messages: JsonRange | undefined;
  readonly prompt: JsonRange | undefined;
  readonly input: JsonRange | undefined;
}

/** The whole list: no other field of a generating request is known anywhere. */
const REQUEST_FIELDS = ["stream", "model", "prompt_cache_key", "messages", "prompt", "input"] as const;

/** One to two milliseconds of the thread (8 MiB measured at 7 to 100 ms): whoever else has work waits for one of each scan. */
const SLICE_BYTES = 131_072;
/** A longer string names no model and no cache: it would only travel, and be stored, with the request. */
const MAX_VALUE_BYTES = 1_024;
/** `\u0065` is the longest way to write a character of a known name. */
const ESCAPED_CHARACTER_BYTES = 6;

const BACKSLASH = 0x5c;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Throws the 400 that llama-server would answer to a body that is no JSON object. */
export async function readRequestFields(body: Uint8Array): Promise<RequestFields> {
  const found = await findFields(body, REQUEST_FIELDS, `The request body (${body.length} bytes) is not JSON`);
  if (!found) throw badRequest("The request body must be a JSON object");
  const { stream, model, prompt_cache_key, ...ranges } = found;
  return {
    stream: stream?.kind === "boolean" && stream.end - stream.start === "true".length,
    model: shortString(body, model),
    promptCacheKey: shortString(body, prompt_cache_key),
    messages: ranges.messages,
    prompt: ranges.prompt,
    input: ranges.input,
  };
}

/**
 * The strings of the body's `conversation_ids`, at most `maxBytes` long each; what llama-server skips is skipped:
 * anything but a non-empty string; no list is none. Throws a 400 for more than `maxIds` items.
 */
export async function readLookupIds(body: Uint8Array, maxIds: number, maxBytes: number): Promise<string[]> {
  const list = (await findFields(body, ["conversation_ids"], "invalid body"))?.conversation_ids;
  if (list?.kind !== "array") return [];
  const items = body.subarray(list.start, list.end);
  const ids: string[] = [];
  let count = 0;
  await scan(items, "invalid body", (start, end) => {
    count += 1;
    if (count > maxIds || kindOf(items[start]) !== "string") return;
    const id = stringValue(items, start, end, maxBytes);
    if (id) ids.push(id);
  });
  if (count > maxIds) throw badRequest(`${count} conversation ids; the limit is ${maxIds} per request`);
  return ids;
}

/** The named fields of the body's object, `undefined` if the body is another JSON value. */
async function findFields<Name extends string>(
  body: Uint8Array,
  names: readonly Name[],
  complaint: string,
): Promise<Partial<Record<Name, JsonRange>> | undefined> {
  const found: Partial<Record<Name, JsonRange>> = {};
  await scan(body, complaint, (start, end, nameStart, nameEnd) => {
    const name = nameAmong(names, body, nameStart, nameEnd);
    if (name !== undefined) found[name] = { kind: kindOf(body[start]), start, end };
  });
  return kindOf(firstByteOf(body)) === "object" ? found : undefined;
}

async function scan(bytes: Uint8Array, complaint: string, visit: VisitChild): Promise<void> {
  try {
    const scanner = new JsonScanner(bytes, visit);
    for (let end = SLICE_BYTES; ; end += SLICE_BYTES) {
      scanner.advance(end);
      if (scanner.isAtEnd) return scanner.finish();
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  } catch (error) {
    throw error instanceof JsonError ? badRequest(`${complaint}: ${error.message}`) : error;
  }
}

function nameAmong<Name extends string>(
  names: readonly Name[],
  bytes: Uint8Array,
  start: number,
  end: number,
): Name | undefined {
  for (const name of names) {
    if (isName(name, bytes, start, end)) return name;
  }
  return undefined;
}

/** Compares byte for byte; only a name with an escape, and short enough to be this one, is decoded. */
function isName(name: string, bytes: Uint8Array, start: number, end: number): boolean {
  const length = end - start - 2;
  if (length < name.length || length > name.length * ESCAPED_CHARACTER_BYTES) return false;
  for (let i = 0; i < length; i++) {
    const byte = bytes[start + 1 + i];
    if (byte === BACKSLASH) return stringValue(bytes, start, end, name.length) === name;
    if (byte !== name.charCodeAt(i)) return false;
  }
  return length === name.length;
}

function shortString(body: Uint8Array, range: JsonRange | undefined): string | undefined {
  return range?.kind === "string" ? stringValue(body, range.start, range.end, MAX_VALUE_BYTES) : undefined;
}

/** The string at this place of a scanned document; `undefined` if it may hold more than `maxBytes`. */
function stringValue(bytes: Uint8Array, start: number, end: number, maxBytes: number): string | undefined {
  const literal = bytes.subarray(start, end);
  if (literal.length - 2 > maxBytes * ESCAPED_CHARACTER_BYTES) return undefined;
  if (!literal.includes(BACKSLASH)) return decoder.decode(literal.subarray(1, -1));
  const value: unknown = JSON.parse(decoder.decode(literal));
  return typeof value === "string" ? value : undefined;
}
