/**
 * What goes on in the conversations that are not being read here: one lookup every few seconds, while the page is visible,
 * tells which have an answer, running or ended, asked here or on another device.
 *
 *   row, running       ─▶ marked; read if it is the open conversation
 *   row, ended         ─▶ collected: read once, and marked as new
 *   row, unknown here  ─▶ an answer that was asked on another device
 *   no row             ─▶ an answer that waits for its end here has none any more: reading it says why
 */
import type { LookupRow } from "../../src/client/index.ts";
import { AnswerRun, isOpen, type RunListener } from "../answer-run.ts";
import type { Gateway } from "../gateway.ts";
import { type Conversation, type Message, newId, type Store } from "../store.ts";

const EVERY_MS = 3_000;
/** Answers are kept for an hour: what is older has nothing to look up, unless it never got its end. */
const LOOKED_UP_FOR_MS = 24 * 3_600_000;
const MOST_LOOKED_UP = 100;

const NOBODY: RunListener = { onDelta() {}, onRestart() {}, onTrouble() {}, onChange() {} };

/** What it looks out for. */
export interface Watched {
  conversations(): readonly Conversation[];
  openId(): string | undefined;
  /** Whether the conversation's answer is being read. */
  isRead(id: string): boolean;
  onMark(id: string): void;
  /** In the open conversation, an answer that is not being read yet. */
  onFound(answer: Message): void;
}

export class Lookout {
  readonly #gateway: Gateway;
  readonly #store: Store;
  readonly #watched: Watched;
  readonly #running = new Set<string>();
  readonly #collecting = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isLooking = false;

  constructor(gateway: Gateway, store: Store, watched: Watched) {
    this.#gateway = gateway;
    this.#store = store;
    this.#watched = watched;
  }

  start(): void {
    document.addEventListener("visibilitychange", () => void this.look());
    void this.look();
  }

  isRunning(id: string): boolean {
    return this.#running.has(id);
  }

  isCollecting(id: string): boolean {
    return this.#collecting.has(id);
  }

  setRunning(id: string, isRunning: boolean): void {
    if (isRunning) this.#running.add(id);
    else this.#running.delete(id);
  }

  /** Now, and again after a while. */
  async look(): Promise<void> {
    if (this.#isLooking || document.visibilityState === "hidden") return;
    this.#isLooking = true;
    clearTimeout(this.#timer);
    try {
      const ids = this.#ids();
      if (ids.length > 0) await this.#observe(await this.#gateway.lookup(ids), ids);
    } catch {
      // Out of reach: the next look may find it, and the open answer tells of it.
    }
    this.#isLooking = false;
    this.#timer = setTimeout(() => void this.look(), EVERY_MS);
  }

  /** The open conversation, those that wait for an answer, and those of today. */
  #ids(): string[] {
    const now = Date.now();
    const openId = this.#watched.openId();
    const wanted = this.#watched.conversations().filter(({ id, messages, changedAt }) => {
      const last = messages.at(-1);
      return id === openId || (last && isOpen(last)) || now - changedAt < LOOKED_UP_FOR_MS;
    });
    return wanted.slice(0, MOST_LOOKED_UP).map(({ id }) => id);
  }

  async #observe(rows: readonly LookupRow[], ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      // It may have been deleted, opened or asked in while the lookup was on its way.
      const conversation = this.#watched.conversations().find((known) => known.id === id);
      if (!conversation || this.#watched.isRead(id) || this.#collecting.has(id)) continue;
      const row = rows.find(({ conversation_id: found }) => found === id);
      this.setRunning(id, row !== undefined && !row.is_done);
      await this.#observeOne(conversation, row);
      this.#watched.onMark(id);
    }
  }

  async #observeOne(conversation: Conversation, row: LookupRow | undefined): Promise<void> {
    const isNews = row !== undefined && !conversation.sessions.includes(row.session);
    const answer = isNews ? await this.#take(conversation, row) : conversation.messages.at(-1);
    if (answer?.answer?.state !== "running") return;
    if (conversation.id === this.#watched.openId()) {
      if (!this.#watched.isRead(conversation.id)) this.#watched.onFound(answer);
    } else if (!row || row.is_done) this.#collect(conversation, answer);
  }

  /** A session that this browser did not start, or did not hear the start of. */
  async #take(conversation: Conversation, { session, started_at: startedAt }: LookupRow): Promise<Message | undefined> {
    const last = conversation.messages.at(-1);
    if (last?.answer?.state === "asked") {
      last.answer.state = "running";
      last.answer.session = session;
    } else {
      const answer = { state: "running" as const, session, isElsewhere: true };
      conversation.messages.push({ id: newId(), role: "assistant", text: "", at: 1_000 * startedAt, answer });
    }
    conversation.sessions.push(session);
    await this.#store.put(conversation);
    return conversation.messages.at(-1);
  }

  /** Reads an answer that has ended while another conversation is open. */
  #collect(conversation: Conversation, message: Message): void {
    const { id } = conversation;
    this.#collecting.add(id);
    conversation.isUnread = true;
    const run = new AnswerRun(this.#gateway, this.#store, conversation, message, NOBODY);
    void run.run().then(() => {
      this.#collecting.delete(id);
      this.#watched.onMark(id);
    });
  }
}
