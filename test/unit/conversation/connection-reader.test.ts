import { describe, expect, it } from "vitest";
import { ConnectionReader } from "../../../src/conversation/producer/connection-reader.ts";
import type { SessionRecord } from "../../../src/conversation/session/session-record.ts";
import { ScriptedBody } from "../support/scripted-body.ts";
import { beginSession, Client, InstantStorage, logText } from "../support/session-bench.ts";
import { SimulatedClock, settle } from "../support/simulated-clock.ts";

const DONE = "data: [DONE]\n\n";

function newReader(fields: Partial<SessionRecord> = {}) {
  const clock = new SimulatedClock();
  const { session } = beginSession(new InstantStorage(), clock, fields);
  return { clock, session, reader: new ConnectionReader(session, clock) };
}

describe("a connection to the origin", () => {
  it("brings whole events to the log, whatever pieces they come in, and holds back the rest", async () => {
    const { session, reader } = newReader();
    const leave = session.audience.join();
    const body = new ScriptedBody();
    const ended = reader.readEvents(body.stream);
    body.push("data: 1\n");
    await settle();
    expect([logText(session), reader.received, reader.originBytes]).toEqual(["", 8, 8]);
    body.push("\ndata: 2\n\ndata: [DO");
    await settle();
    expect([logText(session), session.log.originBytes, reader.originBytes]).toEqual(["data: 1\n\ndata: 2\n\n", 18, 27]);
    body.push("NE]\n\n").end();
    expect(await ended).toBe(true);
    expect([logText(session), reader.isComplete]).toEqual([`data: 1\n\ndata: 2\n\n${DONE}`, true]);
    leave();
  });

  it("that breaks off leaves only whole events, and the next one begins where they end", async () => {
    const { session, reader } = newReader();
    session.audience.join();
    const body = new ScriptedBody();
    const ended = reader.readEvents(body.stream);
    body.push("data: 1\n\ndata: 2");
    await settle();
    body.drop();
    expect(await ended).toBe(false);
    expect([logText(session), reader.originBytes, reader.isComplete]).toEqual(["data: 1\n\n", 9, false]);
    const next = new ScriptedBody().push(`data: 2\n\n${DONE}`).end();
    expect(await reader.readEvents(next.stream)).toBe(true);
    expect([logText(session), reader.isComplete]).toEqual([`data: 1\n\ndata: 2\n\n${DONE}`, true]);
  });

  it("takes a final event without its blank line when the origin ends, and no other unfinished event", async () => {
    const { session, reader } = newReader();
    session.audience.join();
    await reader.readEvents(new ScriptedBody().push("data: 1\n\ndata: {").end().stream);
    expect([logText(session), reader.isComplete]).toEqual(["data: 1\n\n", false]);
    await reader.readEvents(new ScriptedBody().push("data: [DONE]\n").end().stream);
    expect(logText(session)).toBe("data: 1\n\ndata: [DONE]\n");
  });

  it("that is lost just behind such an event has not ended it", async () => {
    const { session, reader } = newReader();
    session.audience.join();
    const body = new ScriptedBody().push("data: 1\n\ndata: [DONE]\n");
    const ended = reader.readEvents(body.stream);
    await settle();
    body.drop();
    await ended;
    expect(logText(session)).toBe("data: 1\n\n");
  });

  it("is complete with the final event, also when pings follow, and not with an event that quotes it", async () => {
    const { session, reader } = newReader();
    session.audience.join();
    await reader.readEvents(new ScriptedBody().push('data: "[DONE]"\n\n').end().stream);
    expect(reader.isComplete).toBe(false);
    await reader.readEvents(new ScriptedBody().push(`${DONE}:\n\n:\n\n`).end().stream);
    expect(reader.isComplete).toBe(true);
  });

  it("ends with its session", async () => {
    const { session, reader } = newReader();
    session.audience.join();
    const body = new ScriptedBody();
    const ended = reader.readEvents(body.stream);
    body.push("data: 1\n\n");
    await settle();
    session.finish("stopped");
    body.push("data: 2\n\n");
    expect(await ended).toBe(false);
    expect(logText(session)).toBe("data: 1\n\n: holdfast end=stopped\n\n");
  });

  it("without a body has ended", async () => {
    expect(await newReader().reader.readEvents(null)).toBe(true);
  });

  it("is read once per second while nobody reads, and at once when a client comes", async () => {
    const { clock, session, reader } = newReader();
    const body = new ScriptedBody();
    void reader.readEvents(body.stream);
    await settle();
    await clock.advance(10);
    for (const n of [1, 2, 3]) {
      body.push(`data: ${n}\n\n`);
      await settle();
    }
    expect(logText(session)).toBe("data: 1\n\n");
    await clock.advance(999);
    expect(logText(session)).toBe("data: 1\n\n");
    await clock.advance(1);
    expect(logText(session)).toBe("data: 1\n\ndata: 2\n\ndata: 3\n\n");
    await clock.advance(10);
    body.push("data: 4\n\n");
    await settle();
    body.push("data: 5\n\n");
    await settle();
    expect(logText(session)).not.toContain("5");
    const client = new Client(session);
    await settle();
    expect(client.text).toContain("data: 5");
  });

  it("passes an event over 1 MiB on as it comes, and is complete with it only when it ends", async () => {
    const { session, reader } = newReader({ family: "completion" });
    session.audience.join();
    const body = new ScriptedBody();
    const ended = reader.readEvents(body.stream);
    const part = new Uint8Array(16_384).fill(97);
    body.push('data: {"stop":true,"prompt":"');
    for (let i = 0; i < 64; i++) body.push(part);
    await settle();
    expect(session.log.originBytes).toBeGreaterThan(1_000_000);
    expect(reader.isComplete).toBe(false);
    body.push('"}\n\n').end();
    await ended;
    expect(reader.isComplete).toBe(true);
  });
});

describe("a JSON answer", () => {
  const fields = { wantsStream: false } as const;

  it("is taken as it comes, up to the most that is kept", async () => {
    const { session, reader } = newReader(fields);
    session.accept("application/json");
    const body = new ScriptedBody().push('{"a":').push("1}").end();
    expect(await reader.readJson(body.stream, 7)).toBe(true);
    expect(logText(session)).toBe('{"a":1}');
  });

  it("that is larger is not taken whole", async () => {
    const { session, reader } = newReader(fields);
    session.accept("application/json");
    const body = new ScriptedBody();
    const ended = reader.readJson(body.stream, 6);
    body.push('{"a":');
    await settle();
    body.push("1}");
    expect(await ended).toBe("too_large");
    expect(session.log.end).toBeLessThanOrEqual(6);
  });

  it("whose connection is lost has not ended", async () => {
    const { session, reader } = newReader(fields);
    session.accept("application/json");
    const body = new ScriptedBody().push('{"a":');
    const ended = reader.readJson(body.stream, 100);
    await settle();
    body.drop();
    expect(await ended).toBe(false);
  });
});
