import { describe, expect, it } from "vitest";
import { ProducerStage, type StageOptions } from "../support/producer-stage.ts";
import { EVENTS } from "../support/records.ts";
import {
  known,
  noAnswer,
  refused,
  ScriptedAnswer,
  UNKNOWN,
  UNREACHABLE,
  UNSUPPORTED,
} from "../support/scripted-origin.ts";
import { settle } from "../support/simulated-clock.ts";

const ONE = "data: 1\n\n";
const TWO = "data: 2\n\n";
const DONE = "data: [DONE]\n\n";
const JSON_REQUEST: StageOptions = { record: { wantsStream: false } };

/** A request whose answer has begun, with one event, while a client reads. */
async function begun(options: StageOptions = {}) {
  const stage = new ProducerStage(options);
  const answer = new ScriptedAnswer();
  stage.origin.openings = [answer];
  const client = stage.read();
  await stage.begin();
  answer.push(ONE);
  await stage.advance(10);
  expect(stage.text).toBe(ONE);
  return { stage, origin: stage.origin, answer, client };
}

/** A request that is sent, and waits for the origin's answer. */
async function waiting(options: StageOptions = {}) {
  const stage = new ProducerStage(options);
  const opening = Promise.withResolvers<ScriptedAnswer | ReturnType<typeof noAnswer>>();
  stage.origin.openings = [opening.promise];
  await stage.begin();
  return { stage, origin: stage.origin, opening };
}

describe("an answer", () => {
  it("is read to its final event and the end of the body", async () => {
    const { stage, origin, answer } = await begun();
    expect(stage.outcome).toBeUndefined();
    answer.push(DONE).end();
    await settle();
    expect([stage.outcome, stage.text, origin.asked]).toEqual(["done", ONE + DONE, ["POST first"]]);
    expect(origin.requests).toEqual(['{"prompt":1}']);
  });

  it("that the origin refuses is refused with the origin's words", async () => {
    const stage = new ProducerStage();
    stage.origin.openings = [refused(400)];
    await stage.begin();
    expect([stage.outcome, stage.origin.asked]).toEqual(["refused 400", ["POST first"]]);
  });

  it("leaves no timer behind that would keep its object awake", async () => {
    const stage = new ProducerStage();
    stage.origin.openings = [new ScriptedAnswer().push(ONE + DONE).end()];
    await stage.begin();
    await stage.advance(2_000);
    expect(stage.outcome).toBe("done");
    stage.session.finish("done");
    expect(stage.timers).toBe(0);
  });

  it("without stream is taken whole", async () => {
    const stage = new ProducerStage(JSON_REQUEST);
    const answer = new ScriptedAnswer("application/json");
    stage.origin.openings = [answer];
    await stage.begin();
    answer.push('{"a":1}').end();
    await stage.advance(2_000);
    expect([stage.outcome, stage.text]).toEqual(["done", '{"a":1}']);
  });

  it("without stream that is larger than what is kept is too large", async () => {
    const stage = new ProducerStage({ ...JSON_REQUEST, limits: { retainedBytes: 10 } });
    const answer = new ScriptedAnswer("application/json");
    stage.origin.openings = [answer];
    await stage.begin();
    answer.push('{"a":"0123456789"}');
    await stage.advance(2_000);
    expect([stage.outcome, answer.isAborted]).toEqual(["too_large", true]);
  });
});

describe("a connection that drops in the middle of an answer", () => {
  it("is followed by one that goes on at the exact byte behind the last whole event", async () => {
    const { stage, origin, answer } = await begun();
    const rest = new ScriptedAnswer();
    origin.attachments = [rest];
    answer.push("data: 2");
    await settle();
    answer.drop();
    await stage.advance(100);
    expect(origin.asked).toEqual(["POST first", "attach first at 9"]);
    expect(stage.session.record.reattached).toBe(1);
    rest.push(TWO + DONE).end();
    await settle();
    expect([stage.outcome, stage.text]).toEqual(["done", ONE + TWO + DONE]);
  });

  it("counts the origin's bytes, not the pings of the gateway", async () => {
    const { stage, origin, answer } = await begun();
    await stage.advance(2_000);
    expect(stage.text).toBe(`${ONE}:\n\n`);
    origin.attachments = [new ScriptedAnswer().push(DONE).end()];
    answer.drop();
    await stage.advance(200);
    expect(origin.asked.at(-1)).toBe("attach first at 9");
    expect([stage.outcome, stage.text]).toEqual(["done", `${ONE}:\n\n${DONE}`]);
  });

  it("is origin_lost when the origin has dropped the answer, or forgotten it", async () => {
    for (const attachment of ["unknown", "lost"] as const) {
      const { stage, origin, answer } = await begun();
      origin.attachments = [attachment];
      answer.drop();
      await stage.advance(200);
      expect([stage.outcome, origin.count("POST")]).toEqual(["origin_lost", 1]);
    }
  });

  it("is origin_lost when the origin stays away for the reconnect time, and asked ever more seldom until then", async () => {
    const { stage, origin, answer } = await begun();
    origin.attachments = ["unreachable"];
    answer.drop();
    const took = await stage.untilOver(70_000);
    expect(stage.outcome).toBe("origin_lost");
    expect(took).toBeGreaterThanOrEqual(60_000);
    expect(took).toBeLessThanOrEqual(60_200);
    expect(origin.count("attach")).toBeGreaterThan(12);
    expect(origin.count("attach")).toBeLessThan(35);
  });

  it("waits for an origin that is loading its model, for longer than the reconnect time", async () => {
    const { stage, origin, answer } = await begun();
    origin.attachments = ["loading"];
    answer.drop();
    await stage.advance(600_000);
    expect(stage.outcome).toBeUndefined();
    expect(origin.count("attach")).toBeLessThan(300);
    origin.attachments = [new ScriptedAnswer().push(DONE).end()];
    await stage.untilOver(10_000);
    expect(stage.outcome).toBe("done");
  });

  it("again and again after half an event is lost at the reconnect deadline: progress is what reached the log", async () => {
    const { stage, origin, answer } = await begun();
    const halves = Array.from({ length: 500 }, () => new ScriptedAnswer().push("data: half an event"));
    origin.attachments = [...halves];
    answer.drop();
    let took = 0;
    for (let dropped = 0; stage.outcome === undefined && took < 70_000; took += 100) {
      await stage.advance(100);
      while (dropped < origin.count("attach")) halves[dropped++]?.drop();
    }
    expect([stage.outcome, stage.answerText]).toEqual(["origin_lost", ONE]);
    expect(took).toBeLessThanOrEqual(60_200);
    expect(origin.count("attach")).toBeLessThan(35);
  });

  it("again and again after a whole event goes on, without long pauses", async () => {
    const { stage, origin, answer } = await begun();
    const events = Array.from({ length: 100 }, () => new ScriptedAnswer().push(TWO));
    origin.attachments = [...events, "unreachable"];
    answer.drop();
    for (const event of events) {
      await stage.advance(300);
      event.drop();
    }
    expect(stage.outcome).toBeUndefined();
    expect(stage.text).toBe(ONE + TWO.repeat(100));
  });

  it("cleanly, and a second time with nothing more to say, is origin_truncated", async () => {
    const { stage, origin, answer } = await begun();
    origin.attachments = [new ScriptedAnswer().end()];
    answer.end();
    await stage.advance(200);
    expect([stage.outcome, origin.count("attach")]).toEqual(["origin_truncated", 1]);
  });

  it("cleanly, on the way through a proxy, goes on when the origin has more", async () => {
    const { stage, origin, answer } = await begun();
    origin.attachments = [new ScriptedAnswer().push(TWO).end(), new ScriptedAnswer().push(DONE).end()];
    answer.end();
    await stage.advance(1_000);
    expect([stage.outcome, stage.text]).toEqual(["done", ONE + TWO + DONE]);
  });

  it("without stream is origin_lost, and the request is not sent again after the outage", async () => {
    const stage = new ProducerStage(JSON_REQUEST);
    const answer = new ScriptedAnswer("application/json");
    stage.origin.openings = [answer];
    await stage.begin();
    answer.push('{"a":');
    await stage.advance(1_000);
    answer.drop();
    await stage.advance(1_000);
    expect([stage.outcome, stage.origin.asked]).toEqual(["origin_lost", ["POST first"]]);
  });
});

describe("a request whose connection breaks before the answer", () => {
  it("is not sent again when the origin had not listed it yet, and then does", async () => {
    const stage = new ProducerStage();
    stage.origin.openings = [noAnswer()];
    stage.origin.finds = [UNKNOWN, known()];
    stage.origin.attachments = [new ScriptedAnswer().push(ONE + DONE).end()];
    await stage.begin();
    await stage.advance(3_000);
    expect(stage.origin.asked).toEqual(["POST first", "find first", "find first", "attach first at 0"]);
    expect([stage.outcome, stage.text]).toEqual(["done", ONE + DONE]);
  });

  it("is sent again, under another name, when the origin has said twice that it knows nothing of it", async () => {
    const stage = new ProducerStage();
    stage.origin.openings = [noAnswer(), new ScriptedAnswer().push(ONE + DONE).end()];
    stage.origin.finds = [UNKNOWN];
    await stage.begin();
    await stage.advance(499);
    expect(stage.origin.asked).toEqual(["POST first", "find first"]);
    await stage.advance(2_000);
    expect(stage.origin.asked).toEqual(["POST first", "find first", "find first", "POST id 2"]);
    expect(stage.origin.requests).toEqual(['{"prompt":1}', '{"prompt":1}']);
    expect(stage.outcome).toBe("done");
  });

  it("is not sent again when the origin knew it, and then has lost its first bytes", async () => {
    const stage = new ProducerStage();
    stage.origin.openings = [noAnswer()];
    stage.origin.finds = [known(5_000_000)];
    stage.origin.attachments = ["lost"];
    await stage.begin();
    await stage.advance(10_000);
    expect([stage.outcome, stage.origin.count("POST")]).toEqual(["origin_lost", 1]);
  });

  it("is origin_lost when the origin knew it, and cannot be reached again", async () => {
    const stage = new ProducerStage();
    stage.origin.openings = [noAnswer()];
    stage.origin.finds = [known()];
    stage.origin.attachments = ["unreachable"];
    await stage.begin();
    await stage.untilOver(61_000);
    expect([stage.outcome, stage.origin.count("POST")]).toEqual(["origin_lost", 1]);
  });

  it("at once is refused after 5 s when no origin is there", async () => {
    const stage = new ProducerStage();
    stage.origin.openings = [noAnswer()];
    stage.origin.finds = [UNREACHABLE];
    await stage.begin();
    const took = await stage.untilOver(10_000);
    expect(stage.outcome).toBe("refused 502");
    expect(took).toBeGreaterThanOrEqual(5_000);
    expect(took).toBeLessThan(5_500);
  });

  it("after a while is refused after the reconnect time: the origin may have it", async () => {
    const { stage, origin, opening } = await waiting();
    origin.finds = [UNREACHABLE];
    await stage.advance(20_000);
    opening.resolve(noAnswer());
    expect(await stage.untilOver(70_000)).toBeGreaterThanOrEqual(60_000);
    expect([stage.outcome, origin.count("POST")]).toEqual(["refused 502", 1]);
  });

  it("is refused where the origin cannot be asked", async () => {
    const stage = new ProducerStage();
    stage.origin.openings = [noAnswer()];
    stage.origin.finds = [UNSUPPORTED];
    await stage.begin();
    await stage.advance(100);
    expect([stage.outcome, stage.origin.count("POST")]).toEqual(["refused 502", 1]);
  });

  it("without stream is never sent again, also where the origin has forgotten it", async () => {
    const { stage, origin, opening } = await waiting(JSON_REQUEST);
    origin.finds = [UNREACHABLE, UNREACHABLE, UNKNOWN];
    await stage.advance(20_000);
    opening.resolve(noAnswer());
    await stage.untilOver(10_000);
    expect([stage.outcome, origin.count("POST")]).toEqual(["origin_lost", 1]);
  });

  it("without stream is refused when it met no origin", async () => {
    const stage = new ProducerStage(JSON_REQUEST);
    stage.origin.openings = [noAnswer()];
    stage.origin.finds = [UNKNOWN];
    await stage.begin();
    await stage.advance(2_000);
    expect([stage.outcome, stage.origin.count("POST")]).toEqual(["refused 502", 1]);
  });

  it("four times is not sent a fifth time, and the server gets 2 and 15 s to start again", async () => {
    const stage = new ProducerStage();
    stage.origin.openings = [noAnswer()];
    stage.origin.finds = [UNKNOWN];
    const posts: number[] = [];
    await stage.begin();
    for (let ms = 0; stage.outcome === undefined && ms < 60_000; ms += 100) {
      while (posts.length < stage.origin.count("POST")) posts.push(ms);
      await stage.advance(100);
    }
    expect(stage.outcome).toBe("refused 502");
    expect(stage.origin.asked.filter((call) => call.startsWith("POST"))).toEqual([
      "POST first",
      "POST id 2",
      "POST id 3",
      "POST id 4",
    ]);
    const pauses = posts.slice(1).map((at, i) => at - (posts[i] ?? 0));
    expect(pauses[0]).toBeLessThan(2_000);
    expect(pauses[1]).toBeGreaterThanOrEqual(2_500);
    expect(pauses[2]).toBeGreaterThanOrEqual(15_500);
    expect(stage.session.record.abandoned.map(({ originId }) => originId)).toEqual(["first", "id 2", "id 3"]);
  });

  it("behind its head, four times, is origin_lost: its readers have an answer", async () => {
    const stage = new ProducerStage();
    stage.origin.openings = Array.from({ length: 9 }, () => new ScriptedAnswer().drop());
    stage.origin.finds = [UNKNOWN];
    await stage.begin();
    await stage.untilOver(60_000);
    expect([stage.outcome, stage.origin.count("POST")]).toEqual(["origin_lost", 4]);
  });

  it("behind its head, and is then refused by a server that starts again, is origin_lost", async () => {
    const stage = new ProducerStage();
    stage.origin.openings = [new ScriptedAnswer().drop(), refused(503)];
    stage.origin.finds = [UNKNOWN];
    await stage.begin();
    await stage.untilOver(10_000);
    expect([stage.outcome, stage.origin.count("POST")]).toEqual(["origin_lost", 2]);
    expect(stage.session.record.state.phase).toBe("streaming");
  });
});

describe("a request that waits", () => {
  it("while a model loads is not sent again, and not given up", async () => {
    const { stage, origin, opening } = await waiting();
    origin.finds = [known()];
    await stage.advance(600_000);
    expect([stage.outcome, origin.count("POST")]).toEqual([undefined, 1]);
    opening.resolve(new ScriptedAnswer().push(ONE + DONE).end());
    await settle();
    await stage.advance(2_000);
    expect([stage.outcome, origin.count("POST")]).toEqual(["done", 1]);
  });

  it("is origin_timeout after the idle time when the origin does not know it, and is not sent again", async () => {
    const { stage, origin } = await waiting();
    origin.finds = [UNKNOWN];
    const took = await stage.untilOver(130_000);
    expect([stage.outcome, origin.count("POST")]).toEqual(["origin_timeout", 1]);
    expect(took).toBeGreaterThan(120_000);
  });

  it("whose session is stopped keeps its connection for 30 s, and the answer that comes is ended elsewhere", async () => {
    const { stage, opening } = await waiting();
    const answer = new ScriptedAnswer();
    stage.session.finish("stopped");
    expect(stage.producer.close()).toBe(false);
    await stage.advance(29_000);
    expect(stage.outcome).toBeUndefined();
    opening.resolve(answer.push(ONE));
    await settle();
    expect([stage.outcome, answer.isAborted]).toEqual(["ended_elsewhere", true]);
    expect(stage.text).toBe(": holdfast end=stopped\n\n");
  });

  it("whose session is stopped, and which is never answered, is left after 30 s", async () => {
    const { stage } = await waiting();
    stage.session.finish("stopped");
    stage.producer.close();
    await stage.advance(29_900);
    expect(stage.outcome).toBeUndefined();
    await stage.advance(200);
    expect(stage.outcome).toBe("ended_elsewhere");
  });
});

describe("a session that ends from outside", () => {
  it("cuts the connection of an answer at once", async () => {
    const { stage, answer } = await begun();
    stage.session.finish("replaced", { code: 409, message: "", type: "conversation_replaced" });
    expect(stage.producer.close()).toBe(true);
    await settle();
    expect([stage.outcome, answer.isAborted]).toEqual(["ended_elsewhere", true]);
  });

  it("ends the search for it, and no attach follows", async () => {
    const { stage, origin, answer } = await begun();
    origin.attachments = ["unreachable"];
    answer.drop();
    await stage.advance(5_000);
    stage.session.finish("stopped");
    stage.producer.close();
    await settle();
    const asked = origin.asked.length;
    expect(stage.outcome).toBe("ended_elsewhere");
    await stage.advance(60_000);
    expect(origin.asked).toHaveLength(asked);
  });

  it("ends the pause before a request is sent again", async () => {
    const stage = new ProducerStage();
    stage.origin.openings = [noAnswer()];
    stage.origin.finds = [UNKNOWN];
    await stage.begin();
    await stage.advance(3_000);
    const posts = stage.origin.count("POST");
    stage.session.finish("stopped");
    stage.producer.close();
    await stage.advance(31_000);
    expect([stage.outcome, stage.origin.count("POST")]).toEqual(["ended_elsewhere", posts]);
  });
});

describe("the watchdog of an answer", () => {
  it("closes the connection after the final event when the origin does not, and the answer is done", async () => {
    const { stage, answer } = await begun();
    answer.push(DONE);
    await stage.advance(4_000);
    expect(stage.outcome).toBeUndefined();
    await stage.advance(8_000);
    expect([stage.outcome, answer.isAborted]).toEqual(["done", true]);
  });

  it("cuts a silent connection when the origin has more than came, and goes on from there", async () => {
    const { stage, origin, answer } = await begun();
    origin.finds = [known(ONE.length + TWO.length)];
    origin.attachments = [new ScriptedAnswer().push(TWO + DONE).end()];
    await stage.advance(70_000);
    expect([stage.outcome, answer.isAborted]).toEqual(["done", true]);
    expect(stage.answerText).toBe(ONE + TWO + DONE);
  });

  it("leaves a silent connection alone when the origin has no more: a prompt may be processed", async () => {
    const { stage, origin, answer } = await begun();
    origin.finds = [known(ONE.length)];
    await stage.advance(110_000);
    expect([stage.outcome, answer.isAborted, origin.count("find")]).toEqual([undefined, false, 1]);
  });

  it("cuts a silent connection of an answer that the origin has forgotten", async () => {
    const { stage, origin, answer } = await begun();
    origin.finds = [UNKNOWN];
    origin.attachments = ["unknown"];
    await stage.advance(70_000);
    expect([stage.outcome, answer.isAborted]).toEqual(["origin_lost", true]);
  });

  it("ends an answer as origin_timeout when the origin is connected and silent for the idle time", async () => {
    const { stage, origin, answer } = await begun();
    origin.finds = [UNREACHABLE];
    await stage.advance(120_000);
    expect(stage.outcome).toBeUndefined();
    await stage.advance(11_000);
    expect([stage.outcome, answer.isAborted]).toEqual(["origin_timeout", true]);
  });

  it("lets half an event count as a sign of life", async () => {
    const { stage, origin, answer } = await begun();
    origin.finds = [known()];
    for (let i = 0; i < 10; i++) {
      answer.push("data");
      await stage.advance(50_000);
    }
    expect([stage.outcome, origin.count("find")]).toEqual([undefined, 0]);
  });

  it("ends an answer as too_long, also one that never pauses, and also while the origin is away", async () => {
    const limits = { maxGenerationMs: 40_000 };
    const { stage, answer } = await begun({ limits });
    for (let i = 0; i < 60; i++) {
      answer.push(TWO);
      await stage.advance(1_000);
    }
    expect(stage.outcome).toBe("too_long");
    const away = await begun({ limits });
    away.origin.attachments = ["loading"];
    away.answer.drop();
    await away.stage.advance(60_000);
    expect(away.stage.outcome).toBe("too_long");
  });
});

describe("a restart of the object", () => {
  it("goes on at the byte behind what was stored", async () => {
    const { stage, origin, answer } = await begun();
    stage.flush();
    answer.push(TWO);
    await stage.advance(10);
    origin.finds = [known(18)];
    origin.attachments = [new ScriptedAnswer().push(TWO + DONE).end()];
    await stage.restart();
    await stage.advance(1_000);
    expect(origin.asked.slice(1)).toEqual(["find first", "attach first at 9"]);
    expect([stage.outcome, stage.text]).toEqual(["done", ONE + TWO + DONE]);
    expect(origin.count("POST")).toBe(1);
  });

  it("adds no ping before the log has all that a reader may have seen", async () => {
    const { stage, origin } = await begun();
    stage.flush();
    origin.finds = [UNREACHABLE];
    await stage.restart();
    stage.read();
    await stage.advance(20_000);
    expect(stage.text).toBe(ONE);
    const rest = new ScriptedAnswer();
    origin.finds = [known(18)];
    origin.attachments = [rest];
    await stage.advance(10_000);
    expect(stage.text).toBe(ONE);
    rest.push(TWO);
    await stage.advance(4_000);
    expect(stage.text).toMatch(/^data: 1\n\ndata: 2\n\n:\n\n/);
  });

  it("waits for an origin that is away, and gives it up after the reconnect time", async () => {
    const { stage, origin } = await begun();
    origin.finds = [UNREACHABLE];
    await stage.restart();
    expect(await stage.untilOver(70_000)).toBeGreaterThanOrEqual(60_000);
    expect(stage.outcome).toBe("origin_lost");
  });

  it("ends an answer that the origin has forgotten as origin_lost, and does not send it again", async () => {
    const { stage, origin } = await begun();
    origin.finds = [UNKNOWN];
    await stage.restart();
    await stage.advance(3_000);
    expect([stage.outcome, origin.count("POST")]).toEqual(["origin_lost", 1]);
  });

  it("before the answer, asks the origin twice, and sends the request that it never got", async () => {
    const { stage, origin } = await waiting();
    origin.finds = [UNKNOWN];
    origin.openings = [new ScriptedAnswer().push(ONE + DONE).end()];
    await stage.restart();
    await stage.advance(3_000);
    expect(origin.asked).toEqual(["POST first", "find first", "find first", "POST id 2"]);
    expect(origin.requests).toEqual(['{"prompt":1}', '{"prompt":1}']);
    expect(stage.outcome).toBe("done");
  });

  it("before the answer, attaches from the first byte to the request that the origin has", async () => {
    const { stage, origin } = await waiting();
    origin.finds = [known(0)];
    const answer = new ScriptedAnswer();
    origin.attachments = [answer];
    await stage.restart();
    await stage.advance(100);
    expect(origin.asked).toEqual(["POST first", "find first", "attach first at 0"]);
    expect(stage.session.record.state.phase).toBe("asking");
    answer.push(ONE + DONE).end();
    await stage.advance(1_000);
    expect([stage.outcome, stage.text]).toEqual(["done", ONE + DONE]);
    expect(stage.session.record.state).toEqual({ phase: "streaming", contentType: EVENTS });
  });

  it("does not count as a request that broke, but eight requests are the most", async () => {
    const { stage, origin } = await waiting();
    origin.finds = [UNKNOWN];
    for (let i = 0; i < 10; i++) {
      origin.openings = [new Promise(() => {})];
      await stage.restart();
      await stage.advance(3_000);
    }
    expect([stage.outcome, origin.count("POST")]).toEqual(["origin_lost", 8]);
    expect(stage.session.record.brokenRequests).toBe(0);
  });

  it("ends an answer without stream as interrupted, whether it goes on at the origin or was forgotten", async () => {
    for (const found of [known(), UNKNOWN, UNSUPPORTED]) {
      const { stage, origin } = await waiting(JSON_REQUEST);
      origin.finds = [found];
      await stage.restart();
      await stage.advance(3_000);
      expect([stage.outcome, origin.count("POST")]).toEqual(["interrupted", 1]);
    }
  });

  it("in front of an origin without replay ends the answer as interrupted", async () => {
    const { stage, origin } = await begun();
    origin.finds = [UNSUPPORTED];
    await stage.restart();
    await stage.advance(1_000);
    expect(stage.outcome).toBe("interrupted");
  });

  it("of a session that was stopped meanwhile asks the origin nothing more", async () => {
    const { stage, origin } = await begun();
    const find = Promise.withResolvers<ReturnType<typeof known>>();
    origin.finds = [find.promise];
    await stage.restart();
    stage.session.finish("stopped");
    stage.producer.close();
    find.resolve(known());
    await settle();
    expect([stage.outcome, origin.count("attach")]).toEqual(["ended_elsewhere", 0]);
  });
});
