/**
 * The chat: which conversation is open, and what is done with it. Only the open one is streamed; the others are marked by
 * lookups, and collected when they are done.
 */
import type { LookupRow } from "../../src/client/index.ts";
import { showInFragment } from "../account.ts";
import { AnswerRun, type RunListener } from "../answer-run.ts";
import { askWhether } from "../dialog.ts";
import type { Gateway } from "../gateway.ts";
import { Marks } from "../marks.ts";
import { type Conversation, type Message, newId, type Store } from "../store.ts";
import type { Mark } from "./side-bar.ts";

/** What the chat shows itself on. */
export interface ChatScreen {
  showConversation(conversation: Conversation | undefined): void;
  showList(conversations: readonly Conversation[], openId: string | undefined, markOf: (id: string) => Mark): void;
  setMark(id: string, mark: Mark): void;
  setRunning(isRunning: boolean): void;
  listenerFor(message: Message): RunListener;
  fill(text: string, images: readonly string[]): void;
  announce(text: string): void;
}

/** Answers are kept for an hour: what is older has nothing to look up, unless it never got its end. */
const LOOKED_UP_FOR_MS = 24 * 3_600_000;
const MOST_LOOKED_UP = 100;
const TITLE_LENGTH = 60;
/** A request that the gateway may never have got is sent again only while its asker can still want it. */
const ASKED_AGAIN_WITHIN_MS = 3_600_000;

export class Chat {
  readonly #gateway: Gateway;
  readonly #store: Store;
  readonly #screen: ChatScreen;
  readonly #marks: Marks;
  readonly #running = new Set<string>();
  readonly #collecting = new Map<string, AnswerRun>();
  #conversations: Conversation[] = [];
  #open: Conversation | undefined;
  #run: AnswerRun | undefined;
  /** What a message that is being edited replaces, from this one on. */
  #edited: Message | undefined;
  model: string | undefined;

  constructor(gateway: Gateway, store: Store, screen: ChatScreen) {
    this.#gateway = gateway;
    this.#store = store;
    this.#screen = screen;
    this.#marks = new Marks(
      gateway,
      () => this.#lookedUp(),
      (rows, ids) => this.#observe(rows, ids),
    );
    store.onChangedElsewhere((id) => void this.#changedElsewhere(id));
    for (const event of ["pagehide", "visibilitychange"]) addEventListener(event, () => this.#run?.keepDraft());
  }

  get openConversation(): Conversation | undefined {
    return this.#open;
  }

  get isStopping(): boolean {
    return this.#run?.isStopping ?? false;
  }

  async start(openId: string | undefined): Promise<void> {
    this.#conversations = await this.#store.all();
    await this.open(openId);
    this.#marks.start();
  }

  /** From the store: after an import. */
  async reload(): Promise<void> {
    this.#conversations = await this.#store.all();
    await this.open(this.#open?.id);
    void this.#marks.look();
  }

  async open(id: string | undefined): Promise<void> {
    const before = this.#run;
    this.#run = undefined;
    void before?.leave();
    this.#edited = undefined;
    this.#open = id === undefined ? undefined : (this.#find(id) ?? (await this.#linked(id)));
    if (this.#open?.isUnread) {
      delete this.#open.isUnread;
      await this.#store.put(this.#open);
    }
    showInFragment({ conversation: this.#open?.id });
    this.#show();
    const last = this.#open?.messages.at(-1);
    if (last?.answer && isOpen(last)) this.#start(last);
    else void this.#marks.look();
  }

  async ask(text: string, images: string[]): Promise<void> {
    const conversation = this.#open ?? this.#fresh(text);
    this.#cutBefore(conversation, this.#edited);
    this.#edited = undefined;
    const question: Message = { id: newId(), role: "user", text, at: Date.now(), ...(images.length > 0 && { images }) };
    conversation.messages.push(question);
    await this.#askFor(conversation);
  }

  async regenerate(message: Message): Promise<void> {
    if (!this.#open) return;
    this.#cutBefore(this.#open, message);
    await this.#askFor(this.#open);
  }

  edit(message: Message): void {
    this.#edited = message;
    this.#screen.fill(message.text, message.images ?? []);
  }

  /** Asks once more for an answer that may still come. */
  lookAgain(message: Message): void {
    if (!message.answer) return;
    message.answer.state = message.answer.session === undefined ? "asked" : "running";
    delete message.answer.loss;
    this.#start(message);
  }

  async stop(): Promise<void> {
    await this.#run?.stop();
  }

  async remove(conversation: Conversation): Promise<void> {
    if (!(await askWhether(`Delete “${conversation.title}” from this device?`, "Delete"))) return;
    const isOpenOne = conversation === this.#open;
    if (isOpenOne) await this.open(undefined);
    this.#conversations = this.#conversations.filter(({ id }) => id !== conversation.id);
    await this.#store.remove(conversation.id);
    this.#showList();
  }

  keepPlace(): void {
    this.#run?.keepDraft();
  }

  #fresh(text: string): Conversation {
    const title = text.trim().split("\n")[0]?.slice(0, TITLE_LENGTH) || "A picture";
    const conversation: Conversation = { id: newId(), title, changedAt: Date.now(), messages: [], sessions: [] };
    this.#conversations.unshift(conversation);
    this.#open = conversation;
    showInFragment({ conversation: conversation.id });
    return conversation;
  }

  /** Another device's conversation: its answers come from the gateway, its history is there. */
  async #linked(id: string): Promise<Conversation> {
    const title = "From another device";
    const conversation = { id, title, changedAt: Date.now(), messages: [], sessions: [], isLinked: true };
    this.#conversations.unshift(conversation);
    await this.#store.put(conversation);
    return conversation;
  }

  #cutBefore(conversation: Conversation, message: Message | undefined): void {
    const at = message ? conversation.messages.indexOf(message) : -1;
    if (at >= 0) conversation.messages.splice(at);
  }

  async #askFor(conversation: Conversation): Promise<void> {
    const before = this.#run;
    this.#run = undefined;
    // The gateway ends the answer before by itself; nobody here reads it any more.
    void before?.leave();
    const answer: Message = {
      id: newId(),
      role: "assistant",
      text: "",
      at: Date.now(),
      answer: { state: "asked", key: newId(), ...(this.model && { model: this.model }) },
    };
    conversation.messages.push(answer);
    conversation.changedAt = Date.now();
    this.#conversations.sort((a, b) => b.changedAt - a.changedAt);
    this.#show();
    // Before it is sent: a reload in the next moment must find what was asked.
    await this.#store.put(conversation);
    if (this.#open === conversation) this.#start(answer);
  }

  #start(message: Message): void {
    const conversation = this.#open;
    if (!conversation || !message.answer) return;
    if (message.answer.state === "asked" && Date.now() - message.at > ASKED_AGAIN_WITHIN_MS) {
      message.answer.state = "failed";
      message.answer.loss = "The gateway never said that it had this question. Ask again.";
      void this.#store.putAnswer(conversation, message);
      this.#show();
      return;
    }
    const run = new AnswerRun(this.#gateway, this.#store, conversation, message, this.#screen.listenerFor(message));
    this.#run = run;
    this.#running.add(conversation.id);
    this.#screen.setRunning(true);
    this.#screen.setMark(conversation.id, this.#markOf(conversation.id));
    void run.run().then(() => this.#ended(run));
  }

  #ended(run: AnswerRun): void {
    if (this.#run !== run) return;
    this.#run = undefined;
    this.#running.delete(run.conversation.id);
    this.#screen.setRunning(false);
    this.#screen.setMark(run.conversation.id, this.#markOf(run.conversation.id));
    this.#screen.announce(run.message.answer?.state === "done" ? "The answer is complete" : "The answer has ended");
    void this.#marks.look();
  }

  /** The open conversation, those that wait for an answer, and those of today. */
  #lookedUp(): string[] {
    const now = Date.now();
    const wanted = this.#conversations.filter(
      (conversation) =>
        conversation === this.#open || isWaiting(conversation) || now - conversation.changedAt < LOOKED_UP_FOR_MS,
    );
    return wanted.slice(0, MOST_LOOKED_UP).map(({ id }) => id);
  }

  async #observe(rows: readonly LookupRow[], ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      const conversation = this.#find(id);
      const isBusy = this.#run?.conversation.id === id || this.#collecting.has(id);
      if (!conversation || isBusy) continue;
      await this.#observeOne(
        conversation,
        rows.find(({ conversation_id: found }) => found === id),
      );
      this.#screen.setMark(id, this.#markOf(id));
    }
  }

  async #observeOne(conversation: Conversation, row: LookupRow | undefined): Promise<void> {
    const last = conversation.messages.at(-1);
    if (row && !row.is_done) this.#running.add(conversation.id);
    else this.#running.delete(conversation.id);
    if (row && !conversation.sessions.includes(row.session)) return await this.#found(conversation, row);
    if (last?.answer?.state !== "running") return;
    // Gone, or complete: reading it says which, and brings what there is.
    if (!row || row.is_done) this.#collect(conversation, last);
  }

  /** A session that this browser did not start, or did not hear the start of. */
  async #found(conversation: Conversation, row: LookupRow): Promise<void> {
    const last = conversation.messages.at(-1);
    if (last?.answer?.state === "asked") {
      last.answer.state = "running";
      last.answer.session = row.session;
    } else {
      const answer = { state: "running" as const, session: row.session, isElsewhere: true };
      conversation.messages.push({ id: newId(), role: "assistant", text: "", at: 1_000 * row.started_at, answer });
    }
    conversation.sessions.push(row.session);
    await this.#store.put(conversation);
    const answer = conversation.messages.at(-1);
    if (!answer) return;
    if (conversation !== this.#open) {
      if (row.is_done) this.#collect(conversation, answer);
    } else if (!this.#run) {
      this.#show();
      this.#start(answer);
    }
  }

  /** Reads an answer that has ended while another conversation is open. */
  #collect(conversation: Conversation, message: Message): void {
    if (conversation === this.#open) {
      this.#start(message);
      return;
    }
    const nobody: RunListener = { onDelta() {}, onRestart() {}, onConnection() {}, onChange() {} };
    const run = new AnswerRun(this.#gateway, this.#store, conversation, message, nobody);
    this.#collecting.set(conversation.id, run);
    conversation.isUnread = true;
    void run.run().then(() => {
      this.#collecting.delete(conversation.id);
      this.#screen.setMark(conversation.id, this.#markOf(conversation.id));
    });
  }

  /** Another tab of this browser wrote it. What is running here is the truth of here. */
  async #changedElsewhere(id: string): Promise<void> {
    if (this.#run?.conversation.id === id || this.#collecting.has(id)) return;
    const stored = await this.#store.get(id);
    this.#conversations = this.#conversations.filter((known) => known.id !== id);
    if (stored) this.#conversations.push(stored);
    this.#conversations.sort((a, b) => b.changedAt - a.changedAt);
    if (this.#open?.id === id) await this.open(stored?.id);
    else this.#showList();
  }

  #find(id: string): Conversation | undefined {
    return this.#conversations.find((conversation) => conversation.id === id);
  }

  #markOf(id: string): Mark {
    const conversation = this.#find(id);
    if (this.#running.has(id)) return "running";
    if (conversation?.messages.at(-1)?.answer?.state === "failed") return "failed";
    return conversation?.isUnread ? "unread" : undefined;
  }

  #show(): void {
    this.#screen.showConversation(this.#open);
    this.#screen.setRunning(this.#run !== undefined);
    this.#showList();
  }

  #showList(): void {
    this.#screen.showList(this.#conversations, this.#open?.id, (id) => this.#markOf(id));
  }
}

function isOpen({ answer }: Message): boolean {
  return answer?.state === "asked" || answer?.state === "running";
}

function isWaiting({ messages }: Conversation): boolean {
  const last = messages.at(-1);
  return last !== undefined && isOpen(last);
}
