/**
 * A session, its storage and its clients under anything that can happen to them, beside what the origin says and what
 * clients have seen. After every step I3, I5, I6 and I7 are checked.
 */
import { expect } from "vitest";
import { OffsetLostError } from "../../../src/conversation/log/replay-log.ts";
import { Records } from "../../../src/conversation/records.ts";
import { isLive } from "../../../src/conversation/session/session-state.ts";
import { NodeStorage } from "../support/node-storage.ts";
import { beginSession, Client, type Held, logText, restoreSession } from "../support/session-bench.ts";
import { SimulatedClock, settle } from "../support/simulated-clock.ts";

export type Step =
  | { do: "append"; events: number }
  /** A part of an event that is too long to be held back. */
  | { do: "append part" }
  | { do: "advance"; ms: number }
  /** `at`: a fraction of what there is, or a little beyond. */
  | { do: "join"; at: number }
  | { do: "leave" }
  | { do: "confirm"; syncs: number }
  | { do: "commit" | "crash" | "fill the disk" | "free the disk" | "fail the syncs" }
  | { do: "finish"; as: "done" | "origin_lost" | "replaced" | "stopped" };

const ERROR = { code: 502, message: "lost", type: "origin_lost" } as const;
const QUESTION_MARK = 63;
const END_FRAME = /(?:\n\n)?(?:data: {"error":[^\n]*}|: holdfast end=stopped)\n\n$/;

/** The origin's answer: events of all lengths, the longest over a row. */
const ORIGIN_TEXT = Array.from({ length: 3_000 }, (_, n) => `data: ${n} ${"x".repeat((n * 7_919) % 97)}\n\n`).join("");

export class ModelledSession {
  #clock = new SimulatedClock();
  readonly #disk = new NodeStorage();
  #held: Held;
  #clients: Client[] = [];
  /** By offset, what some client has seen: it must never change. */
  #seen: (number | undefined)[] = [];
  /** Origin bytes that were appended at some time. */
  #originSent = 0;
  /** What the log was when the session had ended. */
  #final: { text: string; state: unknown } | undefined;
  #isGone = false;

  constructor() {
    this.#held = beginSession(this.#disk, this.#clock);
    this.#disk.commit();
  }

  get #session() {
    return this.#held.session;
  }

  /** All that is in the log; nothing if the rows of what a restart has restored were deleted. */
  get #text(): string {
    try {
      return logText(this.#session);
    } catch (error) {
      if (error instanceof OffsetLostError) return "";
      throw error;
    }
  }

  async take(step: Step): Promise<void> {
    if (this.#isGone) return;
    this.#do(step);
    if (this.#isGone) return;
    if (step.do === "advance") await this.#clock.advance(step.ms);
    await settle();
    // As the session's owner does.
    if (this.#held.errors.length > 0) this.#interrupt();
    await settle();
    this.#check();
  }

  #do(step: Step): void {
    switch (step.do) {
      case "append":
        this.#append(step.events, false);
        break;
      case "append part":
        this.#append(1, true);
        break;
      case "join": {
        const { log } = this.#session;
        if (this.#clients.length < 8) this.#clients.push(new Client(this.#session, Math.floor(step.at * log.end)));
        break;
      }
      case "leave":
        void this.#clients.shift()?.leave();
        break;
      case "confirm":
        this.#disk.confirm(step.syncs);
        break;
      case "commit":
        this.#disk.commit();
        break;
      case "crash":
        this.#crash();
        break;
      case "fill the disk":
      case "free the disk":
        this.#disk.isFull = step.do === "fill the disk";
        break;
      case "fail the syncs":
        this.#disk.fail(new Error("The disk is full"));
        break;
      case "finish":
        this.#finish(step.as);
        break;
    }
  }

  #append(events: number, isPart: boolean): void {
    const { session } = this.#held;
    if (!session.isLive) return;
    const from = session.log.originBytes;
    let end = from;
    for (let i = 0; i < events; i++) end = ORIGIN_TEXT.indexOf("\n\n", end) + 2;
    if (isPart) end -= 3;
    // Nothing is left of the event but its blank line.
    if (end <= from) return;
    const bytes = new TextEncoder().encode(ORIGIN_TEXT.slice(from, end));
    try {
      session.append(bytes, !isPart);
    } catch (error) {
      this.#held.errors.push(error);
    }
    this.#originSent = Math.max(this.#originSent, session.log.originBytes);
  }

  #interrupt(): void {
    this.#held.errors.length = 0;
    this.#finish("origin_lost");
  }

  #finish(as: "done" | "origin_lost" | "replaced" | "stopped"): void {
    const { session } = this.#held;
    if (!session.isLive) return;
    const isError = as === "origin_lost" || as === "replaced";
    // Clients that had more of the answer are told so, and what follows here is not what they have.
    if ((isError || as === "stopped") && session.log.originBytes < this.#originSent)
      this.#seen.length = session.log.end;
    session.finish(as, isError ? ERROR : undefined);
    if (as === "stopped") this.#delete();
    this.#final = { text: this.#text, state: session.record.state };
  }

  /** As the owner of a stopped session does. */
  #delete(): void {
    this.#held.session.log.delete();
    new Records(this.#disk.sql).delete(0);
    this.#disk.commit();
  }

  #crash(): void {
    this.#disk.crash();
    this.#clients = [];
    // The timers of the object that was are gone.
    this.#clock = new SimulatedClock(this.#clock.now());
    const restored = restoreSession(this.#disk, this.#clock);
    this.#isGone = !restored;
    if (!restored) return;
    this.#held = restored;
    const { session } = restored;
    this.#final = undefined;
    if (!session.isLive) this.#final = { text: this.#text, state: session.record.state };
    // As the producer does when it has asked the origin how much there is.
    else session.caughtUpAt(this.#originSent);
    if (session.isLive && session.request.isHeld) this.#expectOnlyPingsSeen();
  }

  /** The request may be sent again, and another answer come of it. */
  #expectOnlyPingsSeen(): void {
    const seen = new TextDecoder().decode(Uint8Array.from(this.#seen, (byte) => byte ?? QUESTION_MARK));
    expect(seen, "a byte of an answer was seen whose request is still stored").toMatch(/^[:\n?]*$/);
  }

  #check(): void {
    const { session } = this.#held;
    const isStored = new Records(this.#disk.sql).holds(0);
    if (session.isLive) {
      if (session.request.isHeld) expect(session.log.originBytes, "I3").toBe(0);
      // A byte that was not stored yet is lost in a crash, but not that there was one.
      else expect(this.#originSent, "I3").toBeGreaterThan(0);
      if (!this.#disk.isFull) expect(isStored, "I3, in rows").toBe(session.request.isHeld);
    } else if (this.#final) {
      expect(session.record.state, "I7").toBe(this.#final.state);
      expect(this.#text, "I7").toBe(this.#final.text);
    }
    this.#checkSeen();
    const withoutPings = this.#text.replace(/(?<=^|\n\n):\n\n/g, "");
    const ours = isLive(session.record.state) ? withoutPings : withoutPings.replace(END_FRAME, "");
    expect(ORIGIN_TEXT.startsWith(ours), `I6: ${ours.slice(-200)}`).toBe(true);
  }

  #checkSeen(): void {
    for (const client of this.#clients) {
      for (const [i, byte] of client.bytes.entries()) {
        const at = client.from + i;
        if (this.#seen[at] !== undefined && this.#seen[at] !== byte) {
          expect.fail(`I5: offset ${at} was ${this.#seen[at]} and is ${byte}`);
        }
        this.#seen[at] = byte;
      }
    }
  }

  /** Whatever happened: it ends, and every client that is there gets all there is, or a broken connection. */
  async checkEnd(): Promise<void> {
    if (this.#isGone) return;
    this.#disk.isFull = false;
    this.#finish("done");
    this.#disk.confirm();
    await this.#clock.advance(1_000);
    this.#check();
    const all = this.#text;
    for (const { from, state, text } of this.#clients) {
      expect(["ended", "broken"]).toContain(state);
      if (state === "ended" && all) expect(text).toBe(all.slice(from));
    }
    expect(this.#clock.timers, "no timer is left").toBe(0);
  }
}
