/** The parts of a conversation without the object around them. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { systemClock } from "../../src/clock.ts";
import { ReplayLog } from "../../src/conversation/log/replay-log.ts";
import { Records } from "../../src/conversation/records.ts";
import { Session } from "../../src/conversation/session/session.ts";
import type { SessionRecord } from "../../src/conversation/session/session-record.ts";
import { storageOf } from "../../src/storage/object-storage.ts";

/** Runs `work` with the storage of an object that nobody else uses. */
export function withStorage<T>(name: string, work: (storage: DurableObjectStorage) => T | Promise<T>): Promise<T> {
  return runInDurableObject(env.CONVERSATION.getByName(`alice/${name}`), (_, { storage }) => work(storage));
}

/** A live session whose origin has accepted; its host saves nothing. */
export function liveSession(storage: DurableObjectStorage): Session {
  return sessionOn(storage, () => storage.sync());
}

/** The same with a disk that confirms when `sync` says so. */
export function sessionOn(storage: DurableObjectStorage, sync: () => Promise<void>): Session {
  const logStorage = storageOf(storage);
  new Records(logStorage.sql).create();
  const log = ReplayLog.create({ ...logStorage, sync }, 0, 1_000_000);
  const ignore = () => {};
  const host = { save: ignore, storedRequest: () => undefined, onAccepted: ignore, onEnd: ignore, onError: ignore };
  const record: SessionRecord = {
    session: "s",
    originId: "o",
    origin: "default",
    refusedBy: [],
    abandoned: [],
    brokenRequests: 0,
    id: "c",
    path: "/v1/chat/completions",
    family: "chat",
    wantsStream: true,
    idempotencyKey: undefined,
    bodyHash: "00",
    key: "API_KEYS",
    model: undefined,
    startedAt: Date.now(),
    reattached: 0,
    replaced: [],
    state: { phase: "streaming", contentType: "text/event-stream" },
  };
  return new Session(record, log, host, systemClock, true);
}
