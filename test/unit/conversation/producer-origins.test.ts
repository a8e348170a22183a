/** A producer that may go to another origin: when it does, and above all when it does not. */
import { beforeEach, describe, expect, it, vi } from "vitest";
import { ApiError } from "../../../src/errors.ts";
import { ProducerStage } from "../support/producer-stage.ts";
import { known, noAnswer, refused, ScriptedAnswer, UNKNOWN, UNREACHABLE } from "../support/scripted-origin.ts";
import { ScriptedOrigins } from "../support/scripted-origins.ts";

const ANSWER = 'data: {"a":1}\n\ndata: [DONE]\n\n';

beforeEach(() => {
  vi.spyOn(console, "log").mockReturnValue();
});

/** A session of which nothing was sent yet, before two origins. */
function fleet(...names: string[]) {
  const origins = ScriptedOrigins.named(...(names.length > 0 ? names : ["attic", "cellar"]));
  const stage = new ProducerStage({ record: { origin: undefined }, origins });
  return { stage, origins };
}

function complete(): ScriptedAnswer {
  return new ScriptedAnswer().push(ANSWER).end();
}

/** What a tunnel says that has no origin behind it. */
function noTunnel(): ReturnType<typeof noAnswer> {
  return { noAnswer: new ApiError(502, "origin_unreachable", "530"), isUntaken: true };
}

/** How often each was asked for an answer. */
function posts(origins: ScriptedOrigins, ...names: string[]): number[] {
  return names.map((name) => origins.at(name).count("POST"));
}

describe("a request to several origins", () => {
  it("goes to the first in the order, once the origins are known, and its record says which", async () => {
    const { stage, origins } = fleet();
    origins.isKnown = false;
    const learned = Promise.withResolvers<void>();
    origins.learn = () => learned.promise;
    origins.at("cellar").openings = [complete()];
    await stage.begin();
    expect(posts(origins, "attic", "cellar")).toEqual([0, 0]);
    origins.order = ["cellar", "attic"];
    learned.resolve();
    await stage.untilOver(1_000);
    expect(posts(origins, "attic", "cellar")).toEqual([0, 1]);
    expect(stage.session.record).toMatchObject({ origin: "cellar", refusedBy: [], abandoned: [] });
    expect(stage.outcome).toBe("done");
  });

  it("is refused where no origin may be asked for its model", async () => {
    const { stage, origins } = fleet();
    origins.order = [];
    await stage.begin();
    await stage.untilOver(1_000);
    expect(stage.outcome).toBe("refused 400");
  });

  it.each([
    ["has no tunnel", () => noTunnel()],
    ["is loading its model", () => refused(503)],
  ])("goes to the next at once when the first %s", async (_, opening) => {
    const { stage, origins } = fleet();
    origins.at("attic").openings = [opening()];
    origins.at("cellar").openings = [complete()];
    await stage.begin();
    expect(await stage.untilOver(1_000)).toBeLessThan(200);
    expect(stage.outcome).toBe("done");
    expect(stage.session.record).toMatchObject({ origin: "cellar", refusedBy: ["attic"], abandoned: [] });
    expect(origins.at("attic").count("find")).toBe(0);
  });

  it("goes to the next when its connections fail at once, for half a second; what may be at the first is to be stopped", async () => {
    const { stage, origins } = fleet();
    origins.at("attic").openings = [noAnswer()];
    origins.at("attic").finds = [UNREACHABLE];
    origins.at("cellar").openings = [complete()];
    await stage.begin();
    expect(await stage.untilOver(2_000)).toBeLessThan(1_000);
    expect(stage.outcome).toBe("done");
    expect(stage.session.record).toMatchObject({
      origin: "cellar",
      refusedBy: ["attic"],
      abandoned: [{ origin: "attic", originId: "first" }],
    });
    expect(posts(origins, "attic", "cellar")).toEqual([1, 1]);
  });

  it("goes on to the third, each origin once, and fails by name of the last", async () => {
    const { stage, origins } = fleet("attic", "cellar", "shed");
    origins.at("attic").openings = [noTunnel()];
    origins.at("cellar").openings = [refused(503)];
    origins.at("shed").openings = [refused(503)];
    await stage.begin();
    await stage.untilOver(1_000);
    expect(stage.outcome).toBe("refused 503");
    expect(posts(origins, "attic", "cellar", "shed")).toEqual([1, 1, 1]);
    expect(stage.session.record).toMatchObject({ origin: "shed", refusedBy: ["attic", "cellar"] });
  });

  it("never goes to the next with what the first refused by its own word", async () => {
    const { stage, origins } = fleet();
    origins.at("attic").openings = [refused(400)];
    await stage.begin();
    await stage.untilOver(1_000);
    expect([stage.outcome, ...posts(origins, "attic", "cellar")]).toEqual(["refused 400", 1, 0]);
  });

  it("never goes to the next when the first may have it: the connection stood, and then the origin is away", async () => {
    const { stage, origins } = fleet();
    const opening = Promise.withResolvers<ReturnType<typeof noAnswer>>();
    origins.at("attic").openings = [opening.promise];
    origins.at("attic").finds = [UNREACHABLE];
    await stage.begin();
    await stage.advance(1_500);
    opening.resolve(noAnswer());
    await stage.untilOver(120_000);
    expect([stage.outcome, ...posts(origins, "attic", "cellar")]).toEqual(["refused 502", 1, 0]);
  });

  it("goes to the first again when that says twice that it does not have it: its prompt cache is there", async () => {
    const { stage, origins } = fleet();
    origins.at("attic").openings = [noAnswer(), complete()];
    origins.at("attic").finds = [UNKNOWN];
    await stage.begin();
    await stage.untilOver(10_000);
    expect([stage.outcome, ...posts(origins, "attic", "cellar")]).toEqual(["done", 2, 0]);
  });

  it("stays with the first when that has it after all", async () => {
    const { stage, origins } = fleet();
    origins.at("attic").openings = [noAnswer()];
    origins.at("attic").finds = [known()];
    origins.at("attic").attachments = [complete()];
    await stage.begin();
    await stage.untilOver(10_000);
    expect([stage.outcome, ...posts(origins, "attic", "cellar")]).toEqual(["done", 1, 0]);
  });
});

describe("an answer that has begun", () => {
  it("never moves: it ends as origin_lost when its origin stays away", async () => {
    const { stage, origins } = fleet();
    const answer = new ScriptedAnswer();
    origins.at("attic").openings = [answer];
    origins.at("attic").attachments = ["unreachable"];
    await stage.begin();
    answer.push('data: {"a":1}\n\n').drop();
    await stage.untilOver(120_000);
    expect([stage.outcome, ...posts(origins, "attic", "cellar")]).toEqual(["origin_lost", 1, 0]);
  });

  it("never moves before its first byte either, once the origin has accepted it", async () => {
    const { stage, origins } = fleet();
    origins.at("attic").openings = [new ScriptedAnswer().drop(), noTunnel()];
    origins.at("attic").finds = [UNKNOWN, UNKNOWN, UNREACHABLE];
    await stage.begin();
    await stage.untilOver(200_000);
    expect([stage.outcome, ...posts(origins, "cellar")]).toEqual(["origin_lost", 0]);
  });
});

describe("after a restart of the object", () => {
  it("a session goes on at its origin, wherever new ones would go", async () => {
    const { stage, origins } = fleet();
    const answer = new ScriptedAnswer();
    origins.at("attic").openings = [answer];
    origins.at("attic").finds = [known(20)];
    origins.at("attic").attachments = [new ScriptedAnswer().push("data: [DONE]\n\n").end()];
    await stage.begin();
    answer.push('data: {"a":1}\n\n');
    await stage.advance(10);
    stage.flush();
    origins.order = ["cellar", "attic"];
    await stage.restart();
    await stage.untilOver(5_000);
    expect([stage.outcome, stage.answerText]).toEqual(["done", ANSWER]);
    expect(origins.at("cellar").asked).toEqual([]);
  });

  it("a session whose origin is not configured any more ends, and asks nobody", async () => {
    const { stage, origins } = fleet();
    origins.at("attic").openings = [new ScriptedAnswer()];
    await stage.begin();
    stage.flush();
    origins.remove("attic");
    await stage.restart();
    await stage.untilOver(1_000);
    expect(stage.outcome).toBe("origin_gone");
    expect(origins.at("cellar").asked).toEqual([]);
  });

  it("a request that no origin was chosen for is sent for the first time", async () => {
    const { stage, origins } = fleet();
    origins.isKnown = false;
    origins.learn = () => new Promise(() => {});
    await stage.begin();
    origins.isKnown = true;
    origins.at("attic").openings = [complete()];
    await stage.restart();
    await stage.untilOver(1_000);
    expect([stage.outcome, ...origins.at("attic").asked]).toEqual(["done", "POST first"]);
  });
});
