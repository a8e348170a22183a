/**
 * The chat events of llama-server, from the bytes of an answer. Knows at which byte the last whole event ended: from there
 * a reload can go on without a doubled or a missing word.
 */

export interface Delta {
  text: string;
  thinking: string;
  /** The model was cut off by its limit of tokens. */
  isCut?: boolean;
}

interface Chunk {
  choices?: {
    delta?: { content?: string | null; reasoning_content?: string | null };
    finish_reason?: string | null;
  }[];
}

const LINE_FEED = 0x0a;
const RETURN = 0x0d;

export class ChatStream {
  /** Of the first byte that no whole event covers yet. */
  offset: number;
  readonly #decoder = new TextDecoder();
  #rest = new Uint8Array(0);

  constructor(from: number) {
    this.offset = from;
  }

  push(bytes: Uint8Array): Delta {
    const all = joined(this.#rest, bytes);
    const end = endOfEvents(all);
    this.#rest = all.slice(end);
    this.offset += end;
    const delta: Delta = { text: "", thinking: "" };
    for (const line of this.#decoder.decode(all.subarray(0, end)).split(/\r?\n/)) {
      if (line.startsWith("data:")) add(delta, line.slice("data:".length).trim());
    }
    return delta;
  }
}

function add(delta: Delta, data: string): void {
  if (!data.startsWith("{")) return;
  let chunk: Chunk;
  try {
    chunk = JSON.parse(data);
  } catch {
    // An event that is not JSON says nothing to a chat.
    return;
  }
  const choice = chunk.choices?.[0];
  if (typeof choice?.delta?.content === "string") delta.text += choice.delta.content;
  if (typeof choice?.delta?.reasoning_content === "string") delta.thinking += choice.delta.reasoning_content;
  if (choice?.finish_reason === "length") delta.isCut = true;
}

/** Behind the last blank line. */
function endOfEvents(bytes: Uint8Array): number {
  for (let at = bytes.length - 1; at > 0; at--) {
    if (bytes[at] !== LINE_FEED) continue;
    const before = bytes[at - 1] === RETURN ? bytes[at - 2] : bytes[at - 1];
    if (before === LINE_FEED) return at + 1;
  }
  return 0;
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}
