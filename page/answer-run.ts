/**
 * One answer being read, from its request or from where a reload left it, to its end or until the page looks elsewhere.
 *
 *   asked ──▶ running ──▶ done | stopped | failed
 *      leave() at any time: the answer goes on at the gateway, and another run takes it up again
 */
import { type AnswerState, HoldfastError, type ResumingFetch } from "../src/client/index.ts";
import { CONVERSATION_HEADER, IDEMPOTENCY_HEADER, SESSION_HEADER } from "../src/protocol.ts";
import { ChatStream, type Delta } from "./chat-stream.ts";
import { errorIn, type Gateway } from "./gateway.ts";
import { lossText, mayStillCome, troubleText } from "./loss.ts";
import { requestBody } from "./request.ts";
import {
  type AnswerFacts,
  type Conversation,
  draftOf,
  dropDraft,
  keepDraft,
  type Message,
  type Store,
} from "./store.ts";

/** A page that crashes loses this much of what it had read, and reads it again. */
const DRAFT_EVERY_MS = 1_000;
const ACCEPTED_POLL_MS = 300;
const ACCEPTED_WITHIN_MS = 15_000;

export interface RunListener {
  onDelta(delta: Delta): void;
  /** What was shown is read again from its first byte. */
  onRestart(): void;
  /** Why nothing comes just now, in words; `undefined` when it does again. */
  onTrouble(trouble: string | undefined): void;
  onChange(): void;
}

export class AnswerRun {
  readonly conversation: Conversation;
  readonly message: Message;
  isStopping = false;
  readonly #facts: AnswerFacts;
  readonly #gateway: Gateway;
  readonly #store: Store;
  readonly #listener: RunListener;
  readonly #fetch: ResumingFetch;
  readonly #abort = new AbortController();
  #stream = new ChatStream(0);
  #ended: Extract<AnswerState, { name: "ended" }> | undefined;
  #hasLeft = false;
  #draftKeptAt = 0;

  constructor(gateway: Gateway, store: Store, conversation: Conversation, message: Message, listener: RunListener) {
    if (!message.answer) throw new Error("A question has no answer to run");
    this.conversation = conversation;
    this.message = message;
    this.#facts = message.answer;
    this.#gateway = gateway;
    this.#store = store;
    this.#listener = listener;
    this.#fetch = gateway.fetchFor((state) => this.#observe(state));
  }

  /** Resolves when it has ended, or the page has left it. */
  async run(): Promise<void> {
    try {
      const response = await this.#open();
      if (this.#hasLeft) return;
      if (!response.ok) return await this.#refused(response);
      this.#accepted(response.headers.get(SESSION_HEADER) ?? undefined);
      if (response.body) await this.#read(response.body);
      if (!this.#hasLeft) await this.#close();
    } catch (error) {
      if (!this.#hasLeft) await this.#fail(error);
    }
  }

  /** Frees the GPU. Resolves when the gateway has said so; what had come stays. */
  async stop(): Promise<void> {
    this.isStopping = true;
    this.#listener.onChange();
    try {
      await this.#fetch.stop(this.conversation.id);
    } catch (error) {
      this.isStopping = false;
      if (this.#facts.state === "running" || this.#facts.state === "asked") {
        this.#facts.loss = `The stop did not get through (${messageOf(error)}). The answer goes on; try again.`;
        this.#listener.onChange();
      }
    }
  }

  /** The page looks elsewhere: the connection is given back, as soon as the gateway is known to have the request. */
  async leave(): Promise<void> {
    this.#hasLeft = true;
    this.keepDraft();
    const deadline = Date.now() + ACCEPTED_WITHIN_MS;
    while (this.#facts.state === "asked" && Date.now() < deadline) {
      const rows = await this.#gateway.lookup([this.conversation.id]).catch(() => []);
      const found = rows.find(({ session }) => !this.conversation.sessions.includes(session));
      if (found) this.#accepted(found.session);
      else await new Promise((resolve) => setTimeout(resolve, ACCEPTED_POLL_MS));
    }
    this.#abort.abort();
  }

  /** What has come so far, where the next page finds it. */
  keepDraft(): void {
    const { session } = this.#facts;
    if (session === undefined || this.#facts.state !== "running") return;
    const { id: messageId, text, thinking = "" } = this.message;
    keepDraft(this.conversation.id, { messageId, session, offset: this.#stream.offset, text, thinking });
    this.#draftKeptAt = Date.now();
  }

  async #open(): Promise<Response> {
    const { session, key = "", model } = this.#facts;
    const { id, messages } = this.conversation;
    if (session !== undefined) {
      this.#stream = new ChatStream(this.#takeDraft(session));
      return await this.#fetch.attach(id, { from: this.#stream.offset, session, signal: this.#abort.signal });
    }
    const before = messages.slice(0, messages.indexOf(this.message));
    return await this.#fetch(`${location.origin}/v1/chat/completions`, {
      method: "POST",
      headers: { "Content-Type": "application/json", [CONVERSATION_HEADER]: id, [IDEMPOTENCY_HEADER]: key },
      body: requestBody(before, model),
      signal: this.#abort.signal,
    });
  }

  /** Where to read on: behind what the page before had, or at the first byte. */
  #takeDraft(session: string): number {
    const draft = draftOf(this.conversation.id, this.message.id);
    const isOurs = draft?.session === session;
    const text = isOurs ? draft.text : "";
    const thinking = isOurs ? draft.thinking : "";
    if (text !== this.message.text || thinking !== (this.message.thinking ?? "")) {
      this.message.text = text;
      this.message.thinking = thinking;
      this.#listener.onRestart();
    }
    return isOurs ? draft.offset : 0;
  }

  /** The first word does not wait for the storage. */
  #accepted(session: string | undefined): void {
    this.#facts.state = "running";
    if (session !== undefined) {
      this.#facts.session = session;
      if (!this.conversation.sessions.includes(session)) this.conversation.sessions.push(session);
    }
    void this.#save();
    this.#listener.onChange();
  }

  async #read(body: ReadableStream<Uint8Array>): Promise<void> {
    const reader = body.getReader();
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      if (this.#hasLeft) continue;
      const delta = this.#stream.push(read.value);
      if (delta.isCut) this.#facts.isCut = true;
      if (delta.text === "" && delta.thinking === "") continue;
      this.message.text += delta.text;
      if (delta.thinking !== "") this.message.thinking = (this.message.thinking ?? "") + delta.thinking;
      this.#listener.onDelta(delta);
      if (Date.now() - this.#draftKeptAt > DRAFT_EVERY_MS) this.keepDraft();
    }
  }

  #observe(state: AnswerState): void {
    if (state.name === "ended") this.#ended = state;
    else if (!this.#hasLeft) this.#listener.onTrouble(state.name === "waiting" ? troubleText(state.cause) : undefined);
  }

  /** The body has ended cleanly: also where its last event says what went wrong. */
  async #close(): Promise<void> {
    const { how, error } = this.#ended ?? {};
    if (how === "failed" || how === "replaced") await this.#lose(error?.code, error?.message ?? "");
    else await this.#end(how === "stopped" ? "stopped" : "done");
  }

  async #refused(response: Response): Promise<void> {
    const { type, message } = await errorIn(response);
    await this.#fail(new HoldfastError(codeOf(response.status, type), message));
  }

  async #fail(error: unknown): Promise<void> {
    const code = error instanceof HoldfastError ? error.code : "refused";
    if (code === "conversation_stopped") return await this.#end("stopped");
    if (code === "offset_lost" && draftOf(this.conversation.id, this.message.id)) return await this.#startOver();
    await this.#lose(code, messageOf(error));
  }

  /** `undefined`: the gateway says that it is not whole, and not why. */
  async #lose(code: HoldfastError["code"] | undefined, message: string): Promise<void> {
    this.#facts.loss = lossText(code, message);
    this.#facts.mayCome = code !== undefined && mayStillCome(code);
    await this.#end("failed");
  }

  /** What the page before had counts for nothing any more: all that is still there is read. */
  async #startOver(): Promise<void> {
    dropDraft(this.conversation.id);
    await this.run();
  }

  async #end(state: "done" | "stopped" | "failed"): Promise<void> {
    this.#facts.state = state;
    if (state !== "failed") delete this.#facts.loss;
    await this.#save();
    dropDraft(this.conversation.id);
    this.#listener.onChange();
  }

  async #save(): Promise<void> {
    this.conversation.changedAt = Date.now();
    await this.#store.putAnswer(this.conversation, this.message);
  }
}

/** It is still to come, as far as is known here. */
export function isOpen({ answer }: Message): boolean {
  return answer?.state === "asked" || answer?.state === "running";
}

function codeOf(status: number, type: string): HoldfastError["code"] {
  if (status === 401 || status === 403) return "unauthorised";
  if (status === 429) return "too_many";
  return type === "conversation_replaced" || type === "conversation_stopped" ? type : "refused";
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
