/**
 * What this browser keeps: the conversations (IndexedDB), and of a running answer what has come so far (localStorage,
 * because a page that is closed has no time for anything else).
 */
import { type DBSchema, type IDBPDatabase, openDB } from "idb";

/** What is known of an answer: enough to find it again after a reload. */
export interface AnswerFacts {
  state: "asked" | "running" | "done" | "stopped" | "failed";
  /** The `Idempotency-Key` of the request: the same request, sent again, joins its answer. */
  key?: string;
  session?: string;
  model?: string;
  /** Why it is not whole, in words. */
  loss?: string;
  /** It failed, and asking for it again may bring it. */
  mayCome?: boolean;
  /** Asked on another device: its question is not here. */
  isElsewhere?: boolean;
  /** The model was cut off by its limit of tokens. */
  isCut?: boolean;
}

export interface Message {
  id: string;
  role: "user" | "assistant";
  text: string;
  thinking?: string;
  /** As data URLs. */
  images?: string[];
  at: number;
  answer?: AnswerFacts;
}

export interface Conversation {
  id: string;
  title: string;
  changedAt: number;
  messages: Message[];
  /** Sessions of the gateway that belong to this conversation, as far as they are known here. */
  sessions: string[];
  /** Opened from a link: what was said before is on another device. */
  isLinked?: boolean;
  /** An answer that came while another conversation was open. */
  isUnread?: boolean;
}

export interface Draft {
  messageId: string;
  session: string;
  offset: number;
  text: string;
  thinking: string;
}

interface Schema extends DBSchema {
  conversations: { key: string; value: Conversation };
}

const MOST_SESSIONS = 50;

export class Store {
  readonly #db: IDBPDatabase<Schema>;
  /** Other tabs of this page. Older browsers have none. */
  readonly #tabs = "BroadcastChannel" in globalThis ? new BroadcastChannel("holdfast") : undefined;

  private constructor(db: IDBPDatabase<Schema>) {
    this.#db = db;
  }

  static async open(): Promise<Store> {
    const upgrade = (db: IDBPDatabase<Schema>) => void db.createObjectStore("conversations", { keyPath: "id" });
    return new Store(await openDB<Schema>("holdfast", 1, { upgrade }));
  }

  /** Newest first. */
  async all(): Promise<Conversation[]> {
    const all = await this.#db.getAll("conversations");
    return all.sort((a, b) => b.changedAt - a.changedAt);
  }

  async get(id: string): Promise<Conversation | undefined> {
    return await this.#db.get("conversations", id);
  }

  async put(conversation: Conversation): Promise<void> {
    if (conversation.sessions.length > MOST_SESSIONS) conversation.sessions.splice(0, 1);
    await this.#db.put("conversations", conversation);
    this.#tabs?.postMessage(conversation.id);
  }

  /**
   * What became of one answer. Another tab may have changed the conversation meanwhile: only the answer is written, and not
   * even that when its message is there no more.
   */
  async putAnswer({ id, sessions, changedAt, isUnread }: Conversation, message: Message): Promise<void> {
    const stored = await this.get(id);
    const at = stored?.messages.findIndex((known) => known.id === message.id) ?? -1;
    if (!stored || at < 0) return;
    stored.messages[at] = message;
    stored.sessions = Array.from(new Set([...stored.sessions, ...sessions]));
    stored.changedAt = changedAt;
    if (isUnread) stored.isUnread = true;
    await this.put(stored);
  }

  async remove(id: string): Promise<void> {
    await this.#db.delete("conversations", id);
    dropDraft(id);
    this.#tabs?.postMessage(id);
  }

  /** Another tab changed a conversation. */
  onChangedElsewhere(listener: (id: string) => void): void {
    this.#tabs?.addEventListener("message", ({ data }) => typeof data === "string" && listener(data));
  }
}

const DRAFT = "holdfast draft ";

export function keepDraft(conversationId: string, draft: Draft): void {
  try {
    localStorage.setItem(DRAFT + conversationId, JSON.stringify(draft));
  } catch {
    // Full or closed: the answer is then read again from its first byte.
    dropDraft(conversationId);
  }
}

export function draftOf(conversationId: string, messageId: string): Draft | undefined {
  try {
    const draft: Draft | null = JSON.parse(localStorage.getItem(DRAFT + conversationId) ?? "null");
    return draft?.messageId === messageId ? draft : undefined;
  } catch {
    return undefined;
  }
}

export function dropDraft(conversationId: string): void {
  localStorage.removeItem(DRAFT + conversationId);
}

/** Random and unguessable; `crypto.randomUUID` is missing without a secure context, this is not. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replace(/=+$/, "");
}
