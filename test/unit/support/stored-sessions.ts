/** The sessions of one conversation on a storage, as its object holds them. */
import type { ActiveSession } from "../../../src/conversation/active-session.ts";
import type { Slot } from "../../../src/conversation/log/row-keys.ts";
import type { StartRequest } from "../../../src/conversation/messages.ts";
import type { Replaced, SessionRecord } from "../../../src/conversation/session/session-record.ts";
import { SessionStore } from "../../../src/conversation/session-store.ts";
import { NodeStorage } from "./node-storage.ts";
import { ScriptedOrigins } from "./scripted-origins.ts";
import { SimulatedClock } from "./simulated-clock.ts";

const LIMITS = { reconnectMs: 60_000, originIdleMs: 60_000, maxGenerationMs: 3_600_000, retainedBytes: 1_000_000 };

/** What a test says of a new session; all the rest is that of an ordinary request. */
export interface Begun {
  slot?: Slot;
  start?: Partial<StartRequest>;
  last?: SessionRecord;
  replaced?: readonly Replaced[];
}

export function postOf(fields: Partial<StartRequest> = {}): StartRequest {
  return {
    id: "c1",
    path: "/v1/chat/completions",
    family: "chat",
    wantsStream: true,
    model: undefined,
    idempotencyKey: undefined,
    isRetry: false,
    bodyHash: "hash",
    key: "API_KEYS",
    ticket: undefined,
    ...fields,
  };
}

export class StoredSessions {
  readonly storage: NodeStorage;
  readonly clock = new SimulatedClock();
  readonly origins: ScriptedOrigins;
  readonly store: SessionStore;

  constructor(storage = new NodeStorage(), origins = ScriptedOrigins.named("attic", "cellar")) {
    this.storage = storage;
    this.origins = origins;
    const events = { onAccepted: () => {}, onEnd: () => {}, onError: () => {} };
    this.store = new SessionStore("alice/c1", storage, origins, LIMITS, this.clock, events);
  }

  create({ slot = 0, start = {}, last, replaced = [] }: Begun = {}): ActiveSession {
    return this.store.create(postOf(start), new TextEncoder().encode("{}"), slot, last, replaced);
  }

  /** What a new object on the same storage finds. */
  restored(): ActiveSession[] {
    const found = new StoredSessions(this.storage, this.origins).store.restore();
    if (found instanceof Error) throw found;
    return found;
  }
}
