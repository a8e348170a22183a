/** A storage that the gateway at f3dd977 wrote, before storage carried a version. */
import { describe, expect, it } from "vitest";
import type { ActiveSession } from "../../../src/conversation/active-session.ts";
import { failureCode, failureError } from "../../../src/conversation/producer/failure-messages.ts";
import { StorageVersionError } from "../../../src/conversation/records.ts";
import { SessionStore } from "../../../src/conversation/session-store.ts";
import { oldAnswer, oldDump } from "../../support/old-storage.ts";
import { NodeStorage } from "../support/node-storage.ts";
import { known, ScriptedAnswer, ScriptedOrigin, UNKNOWN } from "../support/scripted-origin.ts";
import { ScriptedOrigins } from "../support/scripted-origins.ts";
import { Client, logText } from "../support/session-bench.ts";
import { SimulatedClock, settle } from "../support/simulated-clock.ts";

const DONE = "data: [DONE]\n\n";
const LIMITS = { reconnectMs: 60_000, originIdleMs: 60_000, maxGenerationMs: 3_600_000, retainedBytes: 1_000_000 };
/** When the storage was recorded. */
const THEN = 1_795_551_225_000;
const STORED_BYTES = 19_906;

function restore(storage: NodeStorage, origin = new ScriptedOrigin()) {
  const clock = new SimulatedClock(THEN + 10_000);
  const ignore = { onAccepted: () => {}, onEnd: () => {}, onError: () => {} };
  const restored = new SessionStore(
    "alice/live",
    storage,
    new ScriptedOrigins({ default: origin }),
    LIMITS,
    clock,
    ignore,
  ).restore();
  if (restored instanceof StorageVersionError) throw restored;
  const [member, ...others] = restored;
  if (!member || others.length > 0) throw new Error("One session was stored");
  return { clock, member };
}

/** As the Durable Object does. */
async function runToEnd({ session, producer }: ActiveSession, clock: SimulatedClock): Promise<void> {
  const run = producer.run("restart").then((verdict) => {
    if (verdict.is !== "ended") throw new Error(`It was ${verdict.is}`);
    if (verdict.end === "done") session.finish("done");
    else session.finish(failureCode(verdict.end), failureError(verdict.end, LIMITS));
  });
  await clock.advance(5_000);
  await run;
}

describe("storage of the gateway before versions", () => {
  it("has the answer that had ended, to the byte, and says of it what it said", async () => {
    const { member } = restore(new NodeStorage(oldDump("ended")));
    const client = new Client(member.session);
    await settle();
    expect([client.text, client.state]).toEqual([oldAnswer(), "ended"]);
    expect(member.session.record).toMatchObject({
      session: "3ae246e9-cc3a-47f1-8576-7429616e8da6",
      id: "ended",
      startedAt: 1_795_551_216_231,
      replaced: [],
      state: { phase: "ended", end: "done", at: 1_795_551_216_980, contentType: "text/event-stream" },
    });
  });

  it("has the answer that was live, which goes on at the origin's next byte and is stored in the new version", async () => {
    const origin = new ScriptedOrigin();
    const storage = new NodeStorage(oldDump("live"));
    const { member, clock } = restore(storage, origin);
    const before = logText(member.session);
    expect(before).toHaveLength(STORED_BYTES);
    origin.finds = [known(STORED_BYTES + 100)];
    origin.attachments = [new ScriptedAnswer().push(`data: more\n\n${DONE}`).end()];
    await runToEnd(member, clock);
    expect(origin.asked).toEqual([
      "find 9d21f266-9832-422e-8fdb-245f7c413543",
      `attach 9d21f266-9832-422e-8fdb-245f7c413543 at ${STORED_BYTES}`,
    ]);
    expect(logText(member.session)).toBe(`${before}data: more\n\n${DONE}`);
    expect(storage.sql.all("SELECT origin_bytes AS version FROM log WHERE key = -1")).toEqual([{ version: 3 }]);
    const again = restore(storage);
    expect(again.member.session.record).toEqual(member.session.record);
    expect(logText(again.member.session)).toBe(`${before}data: more\n\n${DONE}`);
  });

  it("has the answer that was live, which ends by name when the origin has lost it", async () => {
    const origin = new ScriptedOrigin();
    const { member, clock } = restore(new NodeStorage(oldDump("live")), origin);
    const before = logText(member.session);
    origin.finds = [UNKNOWN];
    await runToEnd(member, clock);
    expect(member.session.record.state).toMatchObject({ phase: "ended", end: "origin_lost" });
    expect(logText(member.session)).toBe(
      `${before}data: ${JSON.stringify({ error: failureError("origin_lost", LIMITS) })}\n\n`,
    );
    expect(member.session.hasLost(STORED_BYTES + 1)).toBe(true);
  });
});
