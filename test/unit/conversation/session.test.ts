import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Records } from "../../../src/conversation/records.ts";
import type { SessionRecord } from "../../../src/conversation/session/session-record.ts";
import { NodeStorage } from "../support/node-storage.ts";
import { EVENTS } from "../support/records.ts";
import { beginSession, Client, InstantStorage, logText, restoreSession } from "../support/session-bench.ts";
import { SimulatedClock, settle } from "../support/simulated-clock.ts";

const LOST = { code: 502, message: "lost", type: "origin_lost" } as const;
const bytes = (text: string) => new TextEncoder().encode(text);

function newSession(storage = new NodeStorage(), fields: Partial<SessionRecord> = {}) {
  const clock = new SimulatedClock();
  const held = beginSession(storage, clock, fields);
  storage.commit();
  return { clock, storage, ...held };
}

/** A new object on what was committed; the timers of the one before are gone with it. */
function crash({ storage, clock }: { storage: NodeStorage; clock: SimulatedClock }) {
  storage.crash();
  const restartedClock = new SimulatedClock(clock.now());
  const held = restoreSession(storage, restartedClock);
  if (!held) throw new Error("No session was stored");
  return { ...held, clock: restartedClock };
}

/** What the gateway prints of a failure is no failure of the test. */
beforeEach(() => {
  vi.spyOn(console, "error").mockReturnValue();
});
afterEach(() => {
  vi.restoreAllMocks();
});

describe("the first byte of an answer", () => {
  it("is visible only when the record without the request is synced", async () => {
    const { clock, storage, session } = newSession();
    const client = new Client(session);
    session.accept(EVENTS);
    session.append(bytes("data: 1\n\n"), true, 0);
    await clock.advance(1_000);
    expect(client.text).toBe("");
    expect(new Records(storage.sql).holds(0)).toBe(false);
    storage.confirm();
    await settle();
    expect(client.text).toBe("data: 1\n\n");
  });

  it("waits for a sync that was asked for when the record was written", () => {
    const requestsAtSync: boolean[] = [];
    class WatchedStorage extends NodeStorage {
      override sync(): Promise<void> {
        requestsAtSync.push(new Records(this.sql).holds(0));
        return super.sync();
      }
    }
    newSession(new WatchedStorage()).session.append(bytes("data: 1\n\n"), true, 0);
    expect(requestsAtSync).toEqual([false]);
  });

  it("that was synced leaves no request that a restart could send again", async () => {
    const { clock, storage, session } = newSession();
    session.accept(EVENTS);
    session.append(bytes("data: 1\n\n"), true, 0);
    storage.confirm();
    const { session: restored } = crash({ storage, clock });
    expect([restored.request.isHeld, restored.record.state]).toEqual([
      false,
      { phase: "streaming", contentType: EVENTS },
    ]);
  });

  it("that was not leaves the request, of which no reader has seen a byte", async () => {
    const { clock, storage, session } = newSession();
    const client = new Client(session);
    session.append(bytes("data: 1\n\n"), true, 0);
    await clock.advance(10_000);
    expect(client.text).toBe("");
    const { session: restored } = crash({ storage, clock });
    expect([restored.request.isHeld, restored.record.state.phase, restored.log.end]).toEqual([true, "asking", 0]);
    expect(new TextDecoder().decode(restored.request.take())).toBe("{}");
  });

  it("makes its host hear that the request was accepted, once, before readers hear it", () => {
    const { session, heard } = newSession();
    session.audience.onChange(() => void heard.push("readers"));
    session.accept(EVENTS);
    expect(heard).toEqual(["accepted", "readers"]);
    session.append(bytes("data: 1\n\n"), true, 0);
    session.accept("text/plain");
    expect(heard).toEqual(["accepted", "readers"]);
    expect(session.record.state).toEqual({ phase: "streaming", contentType: EVENTS });
  });
});

describe("a ping", () => {
  it("comes only while a client reads", async () => {
    const { clock, session } = newSession(new InstantStorage());
    await clock.advance(10_000);
    expect(session.log.end).toBe(0);
    const client = new Client(session);
    await clock.advance(3_600);
    expect(client.text).toBe(":\n\n:\n\n");
    await client.leave();
    await clock.advance(10_000);
    expect(session.log.end).toBe(6);
  });

  it("is visible only when it is synced, and what comes behind it waits for it", async () => {
    const { clock, storage, session } = newSession();
    session.append(bytes("data: 1\n\n"), true, 0);
    storage.confirm();
    const client = new Client(session);
    await clock.advance(1_800);
    session.append(bytes("data: 2\n\n"), true, 0);
    await clock.advance(5);
    expect(client.text).toBe("data: 1\n\n");
    storage.confirm();
    await settle();
    expect(client.text).toBe("data: 1\n\n:\n\ndata: 2\n\n");
  });

  it("never stands inside an event", async () => {
    const { clock, session } = newSession(new InstantStorage());
    const client = new Client(session);
    session.append(bytes("data: a long event"), false);
    await clock.advance(10_000);
    session.append(bytes(" ends\n\n"), true);
    await clock.advance(1_800);
    expect(client.text).toBe("data: a long event ends\n\n:\n\n");
  });

  it("never comes before the log has caught up with what readers may have seen before a restart", async () => {
    const { clock, storage, session } = newSession(new InstantStorage());
    session.append(bytes("data: 1\n\n"), true, 0);
    session.log.flush();
    storage.commit();
    session.append(bytes("data: 2\n\n"), true, 0);
    const { session: restored, clock: later } = crash({ storage, clock });
    restored.caughtUpAt(18);
    const client = new Client(restored, 18);
    await later.advance(10_000);
    expect(logText(restored)).toBe("data: 1\n\n");
    restored.append(bytes("data: 2\n\n"), true, 0);
    await later.advance(1_800);
    expect([logText(restored), client.text]).toEqual(["data: 1\n\ndata: 2\n\n:\n\n", ":\n\n"]);
  });

  it("may come again when the request is sent once more: nobody has bytes of its answer", async () => {
    const { clock, session } = newSession(new InstantStorage());
    session.caughtUpAt(Number.POSITIVE_INFINITY);
    const client = new Client(session);
    await clock.advance(5_000);
    expect(client.text).toBe("");
    session.prepareResend("second", true);
    await clock.advance(1_800);
    expect(client.text).toBe(":\n\n");
  });

  it("may come again when the request goes to another origin", async () => {
    const { clock, session } = newSession(new InstantStorage());
    session.caughtUpAt(Number.POSITIVE_INFINITY);
    const client = new Client(session);
    session.move("cellar", "second", true);
    await clock.advance(1_800);
    expect(client.text).toBe(":\n\n");
  });

  it("comes no more after the end, however long a client takes to read it, or comes back to it", async () => {
    const { clock, session } = newSession(new InstantStorage());
    const leave = session.audience.join();
    session.append(bytes("data: 1\n\n"), true, 0);
    session.finish("done");
    expect(clock.timers).toBe(0);
    leave();
    session.audience.join();
    expect(clock.timers).toBe(0);
    await clock.advance(10_000);
    expect(logText(session)).toBe("data: 1\n\n");
  });

  it("comes in an event stream whose type has parameters", async () => {
    const { clock, session } = newSession(new InstantStorage());
    session.accept("text/event-stream; charset=utf-8");
    session.append(bytes("data: 1\n\n"), true, 0);
    const client = new Client(session);
    await clock.advance(1_800);
    expect(client.text).toBe("data: 1\n\n:\n\n");
  });

  it("that cannot be stored is its owner's to hear", async () => {
    const { clock, storage, session, errors } = newSession();
    storage.isFull = true;
    new Client(session);
    await clock.advance(1_800);
    expect(errors).toMatchObject([{ message: "The disk is full" }]);
    storage.isFull = false;
    await clock.advance(1_800);
    storage.fail(new Error("The disk broke"));
    await settle();
    expect(errors).toMatchObject([{ message: "The disk is full" }, { message: "The disk broke" }]);
  });
});

describe("an answer that fails", () => {
  it("ends with its error as an event of its own, after a blank line where it was inside a long event", async () => {
    const { session } = newSession(new InstantStorage());
    const client = new Client(session);
    session.append(bytes("data: a long event"), false);
    session.finish("origin_lost", LOST);
    await settle();
    expect(client.text).toBe(`data: a long event\n\ndata: ${JSON.stringify({ error: LOST })}\n\n`);
    expect(client.state).toBe("ended");
  });

  it("ends so also when it was restored inside a long event", async () => {
    const { clock, storage, session } = newSession(new InstantStorage());
    session.append(bytes("data: a long event"), false);
    session.log.flush();
    storage.commit();
    const { session: restored } = crash({ storage, clock });
    restored.finish("origin_lost", LOST);
    expect(logText(restored)).toMatch(/^data: a long event\n\ndata: {"error":/);
  });

  it("keeps its first ending, and takes nothing after it", async () => {
    const { clock, session, heard } = newSession(new InstantStorage());
    session.append(bytes("data: 1\n\n"), true, 0);
    session.finish("origin_lost", LOST);
    const text = logText(session);
    session.finish("done");
    session.refuse({ status: 400, contentType: "", body: bytes("") }, LOST);
    session.accept(EVENTS);
    expect(() => session.append(bytes("data: 2\n\n"), true)).toThrow("ended as origin_lost");
    new Client(session);
    await clock.advance(10_000);
    expect([logText(session), session.record.state, heard]).toEqual([
      text,
      expect.objectContaining({ end: "origin_lost", error: LOST }),
      ["accepted", "end"],
    ]);
  });

  it("after a restart, short of what readers had, breaks them off and never ends them", async () => {
    const { clock, storage, session } = newSession(new InstantStorage());
    session.append(bytes("data: 1\n\n"), true, 0);
    session.log.flush();
    storage.commit();
    session.append(bytes("data: 2\n\n"), true, 0);
    const { session: restored } = crash({ storage, clock });
    restored.caughtUpAt(18);
    const ahead = new Client(restored, 18);
    const behind = new Client(restored, 9);
    restored.finish("origin_lost", LOST);
    await settle();
    expect([ahead.state, behind.state, behind.text.includes("origin_lost")]).toEqual(["broken", "ended", true]);
    expect([restored.hasLost(9), restored.hasLost(10)]).toEqual([false, true]);
    storage.commit();
    expect(crash({ storage, clock }).session.hasLost(10)).toBe(true);
  });

  it("after a restart, at the very byte that readers had, ends them all", () => {
    const { clock, storage, session } = newSession(new InstantStorage());
    session.append(bytes("data: 1\n\n"), true, 0);
    session.log.flush();
    storage.commit();
    const { session: restored } = crash({ storage, clock });
    restored.caughtUpAt(9);
    restored.finish("origin_lost", LOST);
    expect([restored.hasLost(9), restored.hasLost(1_000)]).toEqual([false, false]);
  });
});

describe("an end that cannot be stored", () => {
  it("breaks readers off, those that come later too", async () => {
    const { storage, session, heard } = newSession(new InstantStorage());
    session.append(bytes("data: 1\n\n"), true, 0);
    const client = new Client(session);
    await settle();
    storage.isFull = true;
    session.finish("done");
    await settle();
    expect([client.state, new Client(session).state, heard.at(-1)]).toEqual(["broken", "open", "end"]);
    const later = new Client(session);
    await settle();
    expect([later.state, session.hasLost(0)]).toEqual(["broken", true]);
  });

  it("breaks readers off also when only its sync fails", async () => {
    const { clock, storage, session } = newSession();
    session.append(bytes("data: 1\n\n"), true, 0);
    storage.confirm();
    const client = new Client(session);
    await clock.advance(5);
    session.finish("origin_lost", LOST);
    storage.fail(new Error("The disk broke"));
    await settle();
    expect([client.text, client.state]).toEqual(["data: 1\n\n", "broken"]);
  });
});

describe("a stopped session", () => {
  it("ends its readers with a comment, visible without a sync, and writes nothing", async () => {
    const { storage, session } = newSession();
    session.append(bytes("data: 1\n\n"), true, 0);
    const client = new Client(session);
    session.finish("stopped");
    await settle();
    expect([client.text, client.state]).toEqual(["data: 1\n\n: holdfast end=stopped\n\n", "ended"]);
    expect(storage.sql.all("SELECT key FROM log WHERE key >= 0")).toEqual([]);
  });

  it("ends its readers also where they had more of it before a restart: it is what was asked for", async () => {
    const { clock, storage, session } = newSession(new InstantStorage());
    session.append(bytes("data: 1\n\n"), true, 0);
    session.log.flush();
    storage.commit();
    const { session: restored } = crash({ storage, clock });
    restored.caughtUpAt(1_000);
    const ahead = new Client(restored, 1_000);
    restored.finish("stopped");
    await settle();
    expect([ahead.text, ahead.state]).toEqual(["", "ended"]);
  });
});

describe("a refused session", () => {
  it("gives the readers that waited the error, and is not stored as anything", async () => {
    const { storage, session, heard } = newSession();
    const client = new Client(session);
    const failure = { status: 400, contentType: "application/json", body: bytes("{}") };
    session.refuse(failure, LOST);
    await settle();
    expect([client.text, client.state]).toEqual([`data: ${JSON.stringify({ error: LOST })}\n\n`, "ended"]);
    expect(session.record.state).toMatchObject({ phase: "refused", failure });
    expect(heard).toEqual(["end"]);
    expect(storage.sql.all("SELECT key FROM log WHERE key >= 0")).toEqual([]);
  });
});

describe("origin bytes", () => {
  it("are flushed 5 s after they came, at the latest", async () => {
    const { clock, storage, session } = newSession(new InstantStorage());
    const rows = () => storage.sql.all("SELECT key FROM log WHERE key >= 0").length;
    session.append(bytes("data: 1\n\n"), true, 0);
    await clock.advance(3_000);
    session.append(bytes("data: 2\n\n"), true, 0);
    await clock.advance(1_999);
    expect(rows()).toBe(0);
    await clock.advance(1);
    expect(rows()).toBe(1);
    session.append(bytes("data: 3\n\n"), true, 0);
    await clock.advance(5_000);
    expect(rows()).toBe(2);
    session.append(bytes("data: 4\n\n"), true, 0);
    session.finish("done");
    expect([rows(), clock.timers]).toEqual([3, 0]);
  });

  it("that fill a row, and so are flushed at once, are waited for by no timer", () => {
    const { clock, session } = newSession(new InstantStorage());
    session.append(new Uint8Array(65_536), true);
    expect([session.log.hasUnflushed, clock.timers]).toEqual([false, 0]);
  });

  it("that cannot be flushed are its owner's to hear", async () => {
    const { clock, storage, session, errors } = newSession(new InstantStorage());
    session.append(bytes("data: 1\n\n"), true, 0);
    storage.isFull = true;
    await clock.advance(5_000);
    expect(errors).toMatchObject([{ message: "The disk is full" }]);
  });
});

describe("a JSON answer to a request for a stream", () => {
  it("begins behind the pings that were sent while it was waited for; who has those is cut off", async () => {
    const { clock, session } = newSession(new InstantStorage());
    const waiting = new Client(session);
    await clock.advance(3_600);
    expect(waiting.text).toBe(":\n\n:\n\n");
    session.accept("application/json");
    session.append(bytes('{"a":1}'), true);
    await settle();
    expect([session.bodyStart, waiting.state]).toEqual([6, "broken"]);
    session.finish("done");
    const client = new Client(session, session.bodyStart);
    await settle();
    expect([client.text, client.state]).toEqual(['{"a":1}', "ended"]);
  });

  it("gets no frames: neither pings nor an error event", async () => {
    const { clock, session } = newSession(new InstantStorage(), { wantsStream: false });
    new Client(session);
    await clock.advance(10_000);
    session.accept("application/json");
    session.append(bytes('{"a":'), true);
    session.finish("origin_lost", LOST);
    expect(logText(session)).toBe('{"a":');
  });
});

describe("a request that is sent again", () => {
  it("has another private name, and the ones before are remembered, also by a restart", async () => {
    const { clock, storage, session } = newSession();
    session.prepareResend("second", true);
    session.prepareResend("third", false);
    const abandoned = ["first", "second"].map((originId) => ({ origin: "default", originId }));
    expect(session.record).toMatchObject({ origin: "default", originId: "third", abandoned, brokenRequests: 1 });
    storage.commit();
    const { session: restored } = crash({ storage, clock });
    expect(restored.record).toEqual(session.record);
    expect(restored.request.isHeld).toBe(true);
  });

  it("is read from storage: memory keeps it until it is first sent", () => {
    const { session, storage } = newSession();
    expect(session.request.take()).toEqual(bytes("{}"));
    storage.sql.run("UPDATE log SET data = ? WHERE key = -1", bytes("stored"));
    expect(session.request.take()).toEqual(bytes("stored"));
    session.append(bytes("data: 1\n\n"), true, 0);
    expect(() => session.request.take()).toThrow("I3");
  });
});
