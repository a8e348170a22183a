/** What can be the id of a conversation: 1 to MAX_CONVERSATION_ID_BYTES of UTF-8, no control characters. */
import { badRequest } from "../errors.ts";
import { MAX_CONVERSATION_ID_BYTES } from "../protocol.ts";

/** Nearly every id, told at once: a lookup may have 10,000 of them. */
const PLAIN_ID = new RegExp(`^[ -~]{1,${MAX_CONVERSATION_ID_BYTES}}$`);

/** Why this cannot be the id of any conversation, or `undefined`. */
function idProblem(id: string): string | undefined {
  if (PLAIN_ID.test(id)) return undefined;
  const bytes = new TextEncoder().encode(id).length;
  if (bytes > MAX_CONVERSATION_ID_BYTES) {
    return `The conversation id has ${bytes} bytes; the limit is ${MAX_CONVERSATION_ID_BYTES}`;
  }
  const control = Array.from(id).findIndex(isControlCharacter);
  if (control >= 0) return `The conversation id has a control character at position ${control}`;
  // What a decoder puts in place of bytes that are not UTF-8: different ids would become one.
  if (id.includes("\ufffd")) return "The conversation id is not valid UTF-8";
  return undefined;
}

/** A tab is what a header value may hold; the other control characters are what no llama-server takes. */
function isControlCharacter(character: string): boolean {
  return (character < " " && character !== "\t") || character === "\x7f";
}

export function checkConversationId(id: string): void {
  const problem = idProblem(id);
  if (problem) throw badRequest(problem);
}

export function isConversationId(id: unknown): id is string {
  return typeof id === "string" && id !== "" && idProblem(id) === undefined;
}
