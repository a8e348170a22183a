/** The history as a JSON file, out of this browser and into another. */

import { isConversationId } from "./account.ts";
import { isRecord } from "./gateway.ts";
import type { AnswerFacts, Conversation, Message, Store } from "./store.ts";

const FORMAT = "holdfast-conversations-1";

export async function exportFile(store: Store): Promise<Blob> {
  const content = { format: FORMAT, exported_at: new Date().toISOString(), conversations: await store.all() };
  return new Blob([JSON.stringify(content, null, 1)], { type: "application/json" });
}

/** Conversations that are here already are taken over where the file knows more of them. Returns how many came in. */
export async function importFile(store: Store, text: string): Promise<number> {
  const content: unknown = JSON.parse(text);
  if (!isRecord(content) || content.format !== FORMAT || !Array.isArray(content.conversations)) {
    throw new Error("That file was not exported by this page");
  }
  let count = 0;
  for (const item of content.conversations) {
    const conversation = conversationOf(item);
    if (!conversation) continue;
    const known = await store.get(conversation.id);
    if (known && !known.isLinked && known.messages.length >= conversation.messages.length) continue;
    await store.put(known ? merged(known, conversation) : conversation);
    count += 1;
  }
  return count;
}

/** A conversation that was opened from a link has only its newest answers; the file has what came before. */
function merged(here: Conversation, file: Conversation): Conversation {
  const sessions = new Set(file.messages.map(({ answer }) => answer?.session));
  const ids = new Set(file.messages.map(({ id }) => id));
  const more = here.messages.filter(({ id, answer }) => !ids.has(id) && !(answer && sessions.has(answer.session)));
  const all = Array.from(new Set([...file.sessions, ...here.sessions]));
  return { ...file, changedAt: here.changedAt, messages: [...file.messages, ...more], sessions: all };
}

function conversationOf(item: unknown): Conversation | undefined {
  if (!isRecord(item) || !isConversationId(item.id) || !Array.isArray(item.messages)) return undefined;
  const { id, title, changedAt, messages, sessions } = item;
  return {
    id,
    title: typeof title === "string" ? title : "Imported",
    changedAt: typeof changedAt === "number" ? changedAt : Date.now(),
    messages: messages.flatMap((message: unknown) => messageOf(message) ?? []),
    sessions: Array.isArray(sessions) ? sessions.filter((session) => typeof session === "string") : [],
  };
}

function messageOf(item: unknown): Message | undefined {
  if (!isRecord(item) || typeof item.id !== "string" || typeof item.text !== "string") return undefined;
  const { id, role, text, thinking, images, at, answer } = item;
  if (role !== "user" && role !== "assistant") return undefined;
  return {
    id,
    role,
    text,
    at: typeof at === "number" ? at : Date.now(),
    ...(typeof thinking === "string" && { thinking }),
    ...(Array.isArray(images) && { images: images.filter(isPicture) }),
    ...(role === "assistant" && { answer: factsOf(answer) }),
  };
}

/** An answer that was running when it was exported can be collected here. */
function factsOf(item: unknown): AnswerFacts {
  const known = isRecord(item) ? item : {};
  const states = ["asked", "running", "done", "stopped", "failed"] as const;
  const facts: AnswerFacts = { state: states.find((state) => state === known.state) ?? "done" };
  for (const name of ["key", "session", "model", "loss"] as const) {
    const value = known[name];
    if (typeof value === "string") facts[name] = value;
  }
  if (known.isElsewhere === true) facts.isElsewhere = true;
  if (known.isCut === true) facts.isCut = true;
  return facts;
}

function isPicture(value: unknown): value is string {
  return typeof value === "string" && value.startsWith("data:image/");
}
