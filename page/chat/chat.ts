/**
 * The chat: which conversation is open, and what is done with it. Only the open one is streamed; the others are marked by
 * lookups, and collected when they are done.
 */
import { showInFragment } from "../account.ts";
import { AnswerRun, isOpen, type RunListener } from "../answer-run.ts";
import { askWhether } from "../dialog.ts";
import type { Gateway } from "../gateway.ts";
import { type Conversation, type Message, newId, type Store } from "../store.ts";
import { Lookout } from "./lookout.ts";
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

const TITLE_LENGTH = 60;
/** A request that the gateway may never have got is sent again only while its asker can still want it. */
const ASKED_AGAIN_WITHIN_MS = 3_600_000;

export class Chat {
  readonly #gateway: Gateway;
  readonly #store: Store;
  readonly #screen: ChatScreen;
  readonly #lookout: Lookout;
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
    this.#lookout = new Lookout(gateway, store, {
      conversations: () => this.#conversations,
      openId: () => this.#open?.id,
      isRead: (id) => this.#run?.conversation.id === id,
      onMark: (id) => this.#screen.setMark(id, this.#markOf(id)),
      onFound: (answer) => {
        this.#show();
        this.#start(answer);
      },
    });
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
    this.#lookout.start();
  }

  /** From the store: after an import. */
  async reload(): Promise<void> {
    this.#conversations = await this.#store.all();
    await this.open(this.#open?.id);
    void this.#lookout.look();
  }

  async open(id: string | undefined): Promise<void> {
    if (id !== undefined && this.#run?.conversation.id === id) return;
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
    else void this.#lookout.look();
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
    this.#lookout.setRunning(conversation.id, true);
    this.#screen.setRunning(true);
    this.#screen.setMark(conversation.id, this.#markOf(conversation.id));
    void run.run().then(() => this.#ended(run));
  }

  #ended(run: AnswerRun): void {
    if (this.#run !== run) return;
    this.#run = undefined;
    this.#lookout.setRunning(run.conversation.id, false);
    this.#screen.setRunning(false);
    this.#screen.setMark(run.conversation.id, this.#markOf(run.conversation.id));
    this.#screen.announce(run.message.answer?.state === "done" ? "The answer is complete" : "The answer has ended");
    void this.#lookout.look();
  }

  /** Another tab of this browser wrote it. What is running here is the truth of here. */
  async #changedElsewhere(id: string): Promise<void> {
    if (this.#run?.conversation.id === id || this.#lookout.isCollecting(id)) return;
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
    if (this.#lookout.isRunning(id)) return "running";
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
