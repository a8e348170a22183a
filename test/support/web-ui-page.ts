/**
 * An open page of llama.cpp's own web UI, as far as streams go: it resumes once, at the byte behind the last whole line,
 * without saying which session it means; it knows no error events, and tries nothing twice.
 */
import { type Answer, send } from "./http.ts";

export interface Shown {
  /** What the page took for its message, in the order in which it came. */
  bytes: Buffer;
  outcome: "complete" | "could not be resumed";
}

export class WebUiPage {
  readonly #url: string;
  readonly #id: string;
  readonly #headers: Record<string, string>;

  constructor(url: string, key: string, id: string) {
    this.#url = url;
    this.#id = id;
    this.#headers = { authorization: `Bearer ${key}` };
  }

  /** The user sends a message. `onHead` is called when the answer begins. */
  async send(body: unknown, onHead: (answer: Answer) => void = () => {}): Promise<Shown> {
    const headers = { ...this.#headers, "x-conversation-id": this.#id };
    const answer = await send("POST", `${this.#url}/v1/chat/completions`, { headers, body }).answer;
    onHead(answer);
    return await this.#read(answer, 0);
  }

  /** The user opens the chat, or reloads it: the page attaches to what runs, `undefined` if nothing does. */
  async open(): Promise<Shown | undefined> {
    const body = { conversation_ids: [this.#id] };
    const found = await send("POST", `${this.#url}/v1/streams/lookup`, { headers: this.#headers, body }).answer;
    const rows = (await found.json()) as { is_done: boolean; conversation_id: string }[];
    const live = rows.find(({ is_done }) => !is_done);
    return live && (await this.#read(await this.#get(0), 0));
  }

  async #read(answer: Answer, from: number): Promise<Shown> {
    if (answer.status !== 200) return { bytes: Buffer.alloc(0), outcome: "could not be resumed" };
    await answer.closed;
    const { bytes } = answer;
    if (isComplete(bytes)) return { bytes, outcome: "complete" };
    const resumeAt = from + bytes.lastIndexOf("\n") + 1;
    const resumed = await this.#get(resumeAt);
    await resumed.closed;
    const rest = resumed.status === 200 ? resumed.bytes : Buffer.alloc(0);
    return { bytes: Buffer.concat([bytes, rest]), outcome: isComplete(rest) ? "complete" : "could not be resumed" };
  }

  #get(from: number): Promise<Answer> {
    return send("GET", `${this.#url}/v1/stream/${encodeURIComponent(this.#id)}?from=${from}`, {
      headers: this.#headers,
    }).answer;
  }
}

function isComplete(bytes: Buffer): boolean {
  return bytes.includes("data: [DONE]");
}
