import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isAccepted, isLive, nextState, type SessionState } from "../../../src/conversation/session/session-state.ts";
import { type Change, type Effect, type Member, type Pair, succeed } from "../../../src/conversation/succession.ts";

type Phase = SessionState["phase"];

const STATES = {
  asking: { phase: "asking" },
  streaming: { phase: "streaming", contentType: "text/event-stream" },
  ended: {
    phase: "ended",
    end: "done",
    at: 1,
    contentType: "text/event-stream",
    error: undefined,
    brokenFrom: undefined,
  },
  refused: { phase: "refused", at: 1, failure: { status: 400, contentType: "", body: new Uint8Array(0) } },
} as const satisfies { [P in Phase]: SessionState & { phase: P } };
const REPLACED = { ...STATES.ended, end: "replaced" } as const;

type Name = "current" | "previous" | "new" | "other";
interface Named extends Member {
  readonly name: Name;
}

const named = (name: Name, id: string, state: SessionState): Named => ({ name, id, state });
const PREVIOUS = named("previous", "c1", REPLACED);
const NEW = named("new", "c1", STATES.asking);
const OTHER = named("other", "c1", STATES.streaming);

/** "current <- previous: what is done, in order". */
function told([pair, effects]: readonly [Pair<Named>, readonly Effect<Named>[]]): string {
  const done = effects.map((effect) =>
    effect.do === "end" ? `${effect.member.name} ends as ${effect.as}` : `${effect.member.name} is deleted`,
  );
  return [`${pair.current?.name ?? "-"} <- ${pair.previous?.name ?? "-"}`, ...done].join(", ");
}

/** Of every change; of those that name a session or an id also with another one. */
type ChangeName = Change<Named>["type"] | "accepted, another" | "refused, another" | "stopped, another id";
/** The compiler proves it complete: what happens to a pair after each change, in each state of the current session. */
type Table = Record<ChangeName, Record<Phase, string>>;

const same = (outcome: string): Record<Phase, string> => ({
  asking: outcome,
  streaming: outcome,
  ended: outcome,
  refused: outcome,
});

const ALONE: Table = {
  replacing: {
    asking: "- <- -, current ends as replaced, current is deleted",
    streaming: "- <- current, current ends as replaced",
    ended: "- <- current",
    refused: "- <- -, current is deleted",
  },
  begun: same("new <- -"),
  accepted: same("current <- -"),
  "accepted, another": same("current <- -"),
  refused: same("- <- -, current is deleted"),
  "refused, another": same("current <- -"),
  stopped: {
    asking: "- <- -, current ends as stopped, current is deleted",
    streaming: "- <- -, current ends as stopped, current is deleted",
    ended: "- <- -, current is deleted",
    refused: "- <- -, current is deleted",
  },
  "stopped, another id": same("current <- -"),
  expired: same("- <- -, current is deleted"),
};

/** An accepted current one with a previous one cannot be; whatever is done with it must delete it all the same. */
const WITH_PREVIOUS: Table = {
  replacing: {
    asking: "- <- previous, current ends as replaced, current is deleted",
    streaming: "- <- current, current ends as replaced, previous is deleted",
    ended: "- <- current, previous is deleted",
    refused: "- <- previous, current is deleted",
  },
  begun: same("new <- previous"),
  accepted: same("current <- -, previous is deleted"),
  "accepted, another": same("current <- previous"),
  refused: same("previous <- -, current is deleted"),
  "refused, another": same("current <- previous"),
  stopped: {
    asking: "- <- -, current ends as stopped, current is deleted, previous is deleted",
    streaming: "- <- -, current ends as stopped, current is deleted, previous is deleted",
    ended: "- <- -, current is deleted, previous is deleted",
    refused: "- <- -, current is deleted, previous is deleted",
  },
  "stopped, another id": same("current <- previous"),
  expired: same("- <- -, current is deleted, previous is deleted"),
};

const CHANGES: Record<ChangeName, (current: Named) => Change<Named>> = {
  replacing: () => ({ type: "replacing" }),
  begun: () => ({ type: "begun", member: NEW }),
  accepted: (member) => ({ type: "accepted", member }),
  "accepted, another": () => ({ type: "accepted", member: OTHER }),
  refused: (member) => ({ type: "refused", member }),
  "refused, another": () => ({ type: "refused", member: OTHER }),
  stopped: ({ id }) => ({ type: "stopped", id }),
  "stopped, another id": () => ({ type: "stopped", id: "c1::model" }),
  expired: () => ({ type: "expired" }),
};

const changeNames = Object.keys(CHANGES) as ChangeName[];
const phases = Object.keys(STATES) as Phase[];
const everyPair = changeNames.flatMap((change) => phases.map((phase) => [change, phase] as const));

describe("the sessions of a conversation", () => {
  it.each(everyPair)("after '%s' with a current one that is %s", (change, phase) => {
    const current = named("current", "c1", STATES[phase]);
    expect(told(succeed({ current, previous: undefined }, CHANGES[change](current)))).toBe(ALONE[change][phase]);
  });

  it.each(everyPair)("after '%s' with a current one that is %s, and a previous one", (change, phase) => {
    const current = named("current", "c1", STATES[phase]);
    const pair = { current, previous: PREVIOUS };
    expect(told(succeed(pair, CHANGES[change](current)))).toBe(WITH_PREVIOUS[change][phase]);
  });

  it("are none before the first request, and nothing is done with none", () => {
    const none = { current: undefined, previous: undefined };
    for (const change of changeNames.filter((name) => name !== "begun")) {
      expect(told(succeed(none, CHANGES[change](OTHER)))).toBe("- <- -");
    }
    expect(told(succeed(none, CHANGES.begun(OTHER)))).toBe("new <- -");
  });

  it("of two ids are stopped one by one: the previous one is current again, or forgotten", () => {
    const pair = { current: named("current", "c1::b", STATES.asking), previous: named("previous", "c1::a", REPLACED) };
    const currentStopped = succeed(pair, { type: "stopped", id: "c1::b" });
    expect(told(currentStopped)).toBe("previous <- -, current ends as stopped, current is deleted");
    expect(told(succeed(pair, { type: "stopped", id: "c1::a" }))).toBe("current <- -, previous is deleted");
  });

  it("stand ready for a request that could not be stored: the one before stays where it was put", () => {
    const pair = { current: undefined, previous: PREVIOUS };
    expect(told(succeed(pair, { type: "replacing" }))).toBe("- <- previous");
    expect(told(succeed(pair, { type: "begun", member: NEW }))).toBe("new <- previous");
  });
});

/** A session whose state changes as its owner and its producer change it. */
class Moving implements Member {
  readonly id: string;
  state: SessionState = STATES.asking;
  isDeleted = false;

  constructor(id: string) {
    this.id = id;
  }

  end(end: "done" | "replaced" | "stopped" | "origin_lost"): void {
    const event = { type: "ended", end, at: 1, error: undefined, brokenFrom: undefined } as const;
    this.state = nextState(this.state, event);
  }
}

/** A conversation, as the Durable Object drives `succeed`. */
class Sequence {
  pair: Pair<Moving> = { current: undefined, previous: undefined };
  readonly all: Moving[] = [];

  change(change: Change<Moving>): void {
    const [pair, effects] = succeed(this.pair, change);
    this.pair = pair;
    for (const effect of effects) {
      if (effect.do === "end") effect.member.end(effect.as);
      else effect.member.isDeleted = true;
    }
  }

  take(step: Step): void {
    const { current } = this.pair;
    switch (step.do) {
      case "post": {
        this.change({ type: "replacing" });
        const member = new Moving(step.id);
        this.all.push(member);
        this.change({ type: "begun", member });
        break;
      }
      case "accept":
        if (current?.state.phase !== "asking") break;
        this.change({ type: "accepted", member: current });
        current.state = nextState(current.state, { type: "accepted", contentType: "text/event-stream" });
        break;
      case "refuse":
        if (current?.state.phase !== "asking") break;
        current.state = STATES.refused;
        this.change({ type: "refused", member: current });
        break;
      case "end":
        current?.end(step.as);
        break;
      case "stop":
        this.change({ type: "stopped", id: step.id });
        break;
      case "expire":
        if (current && isLive(current.state)) break;
        this.change({ type: "expired" });
        break;
    }
  }

  check(): void {
    const { current, previous } = this.pair;
    const live = this.all.filter(({ state }) => isLive(state));
    expect(live.length <= 1 && (live[0] === undefined || live[0] === current), "I1").toBe(true);
    expect(previous === undefined || (current && !isAccepted(current.state)), "I2").toBeTruthy();
    const stored = this.all.filter(({ isDeleted }) => !isDeleted);
    expect(new Set(stored), "what is stored is what is remembered").toEqual(
      new Set([current, previous].filter((member) => member !== undefined)),
    );
    expect(current?.state.phase === "refused" || previous?.state.phase === "refused").toBe(false);
  }
}

type Step =
  | { do: "post" | "stop"; id: string }
  | { do: "accept" | "refuse" | "expire" }
  | { do: "end"; as: "done" | "origin_lost" };

const id = fc.constantFrom("c1", "c1::a");
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constantFrom("post" as const, "post" as const, "stop" as const), id }),
  fc.record({ do: fc.constantFrom("accept" as const, "refuse" as const, "expire" as const) }),
  fc.record({ do: fc.constant("end" as const), as: fc.constantFrom("done" as const, "origin_lost" as const) }),
);

describe("whatever happens to a conversation", () => {
  it("at most one session is live, and one before it is kept only until that one is accepted", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const sequence = new Sequence();
        for (const next of steps) {
          sequence.take(next);
          sequence.check();
        }
      }),
      { seed: 8, numRuns: 1_000 },
    );
  });
});
