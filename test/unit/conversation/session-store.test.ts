import { describe, expect, it } from "vitest";
import { StorageVersionError } from "../../../src/conversation/records.ts";
import { oldDump } from "../../support/old-storage.ts";
import { NodeStorage } from "../support/node-storage.ts";
import { EVENTS, recordOf } from "../support/records.ts";
import { ScriptedAnswer } from "../support/scripted-origin.ts";
import { StoredSessions } from "../support/stored-sessions.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const FIRST = bytes("data: 1\n\n");
const allRows = ({ storage }: StoredSessions) => storage.sql.all("SELECT key FROM log");

describe("a new session", () => {
  it("is found by a restart, with its request, as its client sent it", () => {
    const sessions = new StoredSessions();
    const start = { id: "c1::tiny", model: "tiny", idempotencyKey: "k", bodyHash: "other", key: "phone" };
    const replaced = [{ bodyHash: "hash", length: 5, at: 1 }];
    const { session } = sessions.create({ start, replaced, slot: 1 });
    expect(session.record).toMatchObject({
      ...start,
      replaced,
      state: { phase: "asking" },
      startedAt: sessions.clock.now(),
    });
    const [restored, ...others] = sessions.restored();
    expect(others).toEqual([]);
    expect([restored?.slot, restored?.session.record]).toEqual([1, session.record]);
    expect(restored?.session.request.take()).toEqual(bytes("{}"));
  });

  it("has names that no other has, at the origin neither", () => {
    const sessions = new StoredSessions();
    const records = [sessions.create(), sessions.create({ slot: 1 })].map(({ session }) => session.record);
    expect(new Set(records.flatMap(({ session, originId }) => [session, originId])).size).toBe(4);
  });

  it("goes to the origin that is ranked first for the conversation and its last origin", () => {
    const sessions = new StoredSessions();
    const { session } = sessions.create({ start: { model: "tiny" }, last: recordOf({ origin: "cellar" }) });
    expect(session.record.origin).toBe("attic");
    expect(sessions.origins.questions).toEqual([{ model: "tiny", key: "alice/c1", last: "cellar" }]);
  });

  it("has no origin yet where the gateway does not know what they serve, and is then ranked the same", async () => {
    const sessions = new StoredSessions();
    sessions.origins.isKnown = false;
    const { session, producer } = sessions.create({ last: recordOf({ origin: "cellar" }) });
    expect([session.record.origin, sessions.origins.questions]).toEqual([undefined, []]);
    sessions.origins.at("attic").openings = [new ScriptedAnswer()];
    void producer.run("start");
    await sessions.clock.advance(0);
    expect(session.record.origin).toBe("attic");
    expect(sessions.origins.questions[0]).toEqual({ model: undefined, key: "alice/c1", last: "cellar" });
  });

  it("starts with an empty log, whatever was in its slot", () => {
    const sessions = new StoredSessions();
    const { session } = sessions.create();
    session.append(FIRST, true, 0);
    session.finish("done");
    expect(sessions.create().session.log.end).toBe(0);
    expect(sessions.restored().map((restored) => restored.session.log.end)).toEqual([0]);
  });
});

describe("sessions that are stored", () => {
  it("are none where there never was one, and asking for them leaves nothing", () => {
    const sessions = new StoredSessions();
    expect(sessions.restored()).toEqual([]);
    expect(sessions.storage.sql.all("SELECT name FROM sqlite_master")).toEqual([]);
  });

  it("keep the request until the answer's first byte, and what the record says", () => {
    const sessions = new StoredSessions();
    const { session } = sessions.create();
    session.prepareResend("second", true);
    expect(sessions.restored()[0]?.session.record).toMatchObject({ originId: "second", brokenRequests: 1 });
    expect(sessions.restored()[0]?.session.request.isHeld).toBe(true);
    session.append(FIRST, true, 0);
    expect(sessions.restored()[0]?.session.request.isHeld).toBe(false);
    expect(sessions.restored()[0]?.session.record.state).toEqual({ phase: "streaming", contentType: EVENTS });
  });

  it("are restored with the live one first, even if the clock has stepped back since the other began", async () => {
    const sessions = new StoredSessions();
    await sessions.clock.advance(1_000);
    const before = sessions.create({ slot: 0 }).session;
    before.append(FIRST, true, 0);
    before.finish("replaced");
    const earlier = new StoredSessions(sessions.storage);
    const live = earlier.create({ slot: 1 }).session;
    expect(live.record.startedAt).toBeLessThan(before.record.startedAt);
    const found = sessions.restored().map(({ session }) => session.record.session);
    expect(found).toEqual([live.record.session, before.record.session]);
  });

  it.each([0, 1] as const)(
    "are restored with the newest first when both have ended, it being in slot %d",
    async (slot) => {
      const sessions = new StoredSessions();
      const before = sessions.create({ slot: slot === 0 ? 1 : 0 });
      await sessions.clock.advance(1);
      const newest = sessions.create({ slot });
      for (const { session } of [before, newest]) session.finish("origin_lost");
      const found = sessions.restored().map(({ session }) => session.record.session);
      expect(found).toEqual([newest, before].map(({ session }) => session.record.session));
    },
  );

  it("are deleted with request and log, and the other one stays", () => {
    const sessions = new StoredSessions();
    const [kept, deleted] = [sessions.create(), sessions.create({ slot: 1 })];
    for (const { session } of [kept, deleted]) {
      session.append(FIRST, true, 0);
      session.log.flush();
    }
    sessions.store.delete(deleted);
    expect(sessions.restored().map(({ session, slot }) => [slot, session.log.end])).toEqual([[0, FIRST.length]]);
    sessions.store.delete(kept);
    expect(allRows(sessions)).toEqual([]);
  });

  it("of a gateway without an index were told to no tenant's object", () => {
    const { store } = new StoredSessions(new NodeStorage(oldDump("ended")));
    store.restore();
    expect(store.predatesIndex).toBe(true);
  });

  it("of the first gateway with an index, and of this one, were told", () => {
    const sessions = new StoredSessions();
    sessions.create();
    sessions.store.restore();
    expect(sessions.store.predatesIndex).toBe(false);
    sessions.storage.sql.run(
      "UPDATE log SET origin_bytes = 2, record = json_set(record, '$.abandonedIds', json('[]'))",
    );
    sessions.store.restore();
    expect(sessions.store.predatesIndex).toBe(false);
  });

  it("in a newer version are not read, and can be deleted all the same", () => {
    const sessions = new StoredSessions();
    sessions.create();
    const { session } = sessions.create({ slot: 1 });
    session.append(FIRST, true, 0);
    session.log.flush();
    sessions.storage.sql.run("UPDATE log SET origin_bytes = 4 WHERE key = -1");
    expect(sessions.store.restore()).toBeInstanceOf(StorageVersionError);
    sessions.store.deleteUnreadable();
    expect(allRows(sessions)).toEqual([]);
  });
});
