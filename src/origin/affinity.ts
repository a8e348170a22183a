/**
 * What the prompt cache of a request without a conversation id belongs to: requests of one chat or one agent go to one
 * origin. Pure. It decides nothing else: no such header makes an answer resumable.
 */
import { hash53 } from "./choose.ts";

/**
 * The headers that agents send with every request of a thread: codex, Claude Code, opencode and pi. The first that is there
 * counts. Not `X-Client-Request-Id`: it is a session in one client and new for every request in others.
 */
const AFFINITY_HEADERS = ["Thread-Id", "X-Claude-Code-Session-Id", "X-Session-Affinity", "X-Session-Id", "Session-Id"];
/** A subagent has a prompt of its own, and slots hold one prompt. */
const AGENT_HEADER = "X-Claude-Code-Agent-Id";
/** Longer than any UUID, hash or path. */
const MAX_HEADER_LENGTH = 256;
/** System prompts of agents have some 40 kB. */
const MAX_BEGINNING_BYTES = 65_536;

/** `promptCacheKey`: the body's field. `prompt`: the bytes of its `messages`, `prompt` or `input`. */
export function affinityKey(
  headers: Headers,
  promptCacheKey: string | undefined,
  prompt: Uint8Array | undefined,
): string {
  for (const name of AFFINITY_HEADERS) {
    const value = headers.get(name);
    if (!value) continue;
    const agent = headers.get(AGENT_HEADER) ?? "";
    return `header ${value.slice(0, MAX_HEADER_LENGTH)} ${agent.slice(0, MAX_HEADER_LENGTH)}`;
  }
  if (promptCacheKey !== undefined) return `cache ${promptCacheKey}`;
  if (!prompt) return "";
  return `prompt ${hash53(new TextDecoder().decode(beginning(prompt)))}`;
}

const [QUOTE, BACKSLASH, OPEN_BRACE, CLOSE_BRACE] = [0x22, 0x5c, 0x7b, 0x7d];

/**
 * What all turns of a chat have in common: its messages up to the first of the user, of a longer beginning the first bytes.
 * Later messages are left out, because the first turn does not have them.
 */
function beginning(prompt: Uint8Array): Uint8Array {
  const bytes = prompt.subarray(0, MAX_BEGINNING_BYTES);
  let depth = 0;
  let start = 0;
  let isInString = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (isInString) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) isInString = false;
    } else if (byte === QUOTE) isInString = true;
    else if (byte === OPEN_BRACE) {
      if (depth === 0) start = at;
      depth++;
    } else if (byte === CLOSE_BRACE) {
      depth--;
      if (depth === 0 && isOfUser(bytes.subarray(start, at))) return bytes.subarray(0, at);
    }
  }
  return bytes;
}

function isOfUser(message: Uint8Array): boolean {
  return /"role"\s*:\s*"user"/.test(new TextDecoder().decode(message));
}
