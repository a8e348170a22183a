/** The parts of a conversation without the object around them. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { ReplayLog } from "../../src/conversation/log/replay-log.ts";
import { Records } from "../../src/conversation/records.ts";
import { Session, type SessionRecord } from "../../src/conversation/session.ts";
import { storageOf } from "../../src/conversation/storage.ts";

/** Runs `work` with the storage of an object that nobody else uses. */
export function withStorage<T>(name: string, work: (storage: DurableObjectStorage) => T | Promise<T>): Promise<T> {
  return runInDurableObject(env.CONVERSATION.getByName(`alice/${name}`), (_, { storage }) => work(storage));
}

/** A live session on a log of its own; its host saves nothing. */
export function liveSession(storage: DurableObjectStorage, record: Partial<SessionRecord> = {}): Session {
  return sessionOn(storage, record, () => storage.sync());
}

/** The same with a disk that confirms when `sync` says so. */
export function sessionOn(
  storage: DurableObjectStorage,
  record: Partial<SessionRecord>,
  sync: () => Promise<void>,
): Session {
  const logStorage = storageOf(storage);
  new Records(logStorage.sql).create();
  const log = ReplayLog.create({ ...logStorage, sync }, 0, 1_000_000);
  const ignore = () => {};
  const host = { now: () => Date.now(), newId: () => "new id", saveRecord: ignore, onEnd: ignore, onError: ignore };
  const live = { end: null, family: "chat" as const, contentType: "text/event-stream", abandonedIds: [] as string[] };
  return new Session({ ...live, ...record } as SessionRecord, log, host);
}
