/**
 * What follows what, as docs/protocol.md says it: every phase with every observation. A cell is "impossible", or a list of
 * rows, of which the first that fits the case counts; the last one fits all that are left.
 */
import { describe, expect, it } from "vitest";
import {
  type Cause,
  type Facts,
  next,
  type Observation,
  type Phase,
} from "../../../src/conversation/producer/phase.ts";
import { ApiError } from "../../../src/errors.ts";

const OURS = new ApiError(502, "origin_unreachable", "The connection was lost");
const THEIRS = { status: 400, contentType: "application/json", body: new Uint8Array(0) };

/** How the table calls a cause. */
interface CauseNames {
  no_answer: "no answer";
  restarted: "a restart";
  dropped: "a drop";
}

/** How the table calls a phase: once for each kind of cause, and of connection, that it can have. */
type NameIn<P extends Phase> = P extends { readonly cause: Cause }
  ? `${P["name"]} after ${CauseNames[Cause["kind"]]}`
  : P extends { readonly isFirst: boolean }
    ? `${P["name"]} ${"the request's own" | "another"} connection`
    : P["name"];

/** Made of the union itself: a phase or a cause that is new has no row yet, and the compiler says so. */
type Situation = NameIn<Phase>;

type Outcome =
  | "read the first"
  | "read another"
  | "find after no answer"
  | "find after a drop"
  | "attach"
  | "resend a broken one"
  | "resend"
  | "ask the next origin"
  | "ask the next origin, and stop the one before"
  | "refused by the origin"
  | "refused by us"
  | "ended elsewhere"
  | "stays over"
  | "done"
  | "origin_lost"
  | "origin_truncated"
  | "origin_gone"
  | "origin_timeout"
  | "too_long"
  | "too_large"
  | "interrupted";

/** All that matters beside the phase and what was seen. Of the details only those that the pair has. */
interface Case extends Facts {
  /** Of the cause: the connection failed at once. */
  readonly wasQuick: boolean;
  /** Of what was seen: the origin does not have the request. */
  readonly isUntaken: boolean;
  /** Of the cause, or of what was seen: the origin ended the body. */
  readonly bodyEnded: boolean;
  readonly isComplete: boolean;
  readonly grew: boolean;
  readonly limit: "origin_timeout" | "too_long" | "too_large";
}
type Row = readonly [when: Partial<Case>, outcome: Outcome];
type Cell = "impossible" | readonly Row[];

const always = (outcome: Outcome): Row[] => [[{}, outcome]];
const LIMIT: Cell = [
  [{ limit: "origin_timeout" }, "origin_timeout"],
  [{ limit: "too_long" }, "too_long"],
  [{}, "too_large"],
];
/** Asked again only where the origin said unknown (twice: see producer.test.ts) and the request wanted a stream. */
const RESEND = { wantsStream: true, mayResend: true };

/** Sent to another origin only before an origin has accepted it, and if the one before does not have it (I9). */
const MOVE = { mayResend: true, hasNextOrigin: true, isAccepted: false };
const MOVE_UNTAKEN = { ...MOVE, isUntaken: true };
/** The request's own connection failed at once, and those that were to ask for it did. */
const MOVE_QUICK = { ...MOVE, wasQuick: true };

const TABLE: Record<Situation, Record<Observation["saw"], Cell>> = {
  asking: {
    head: always("read the first"),
    refused: [
      [MOVE_UNTAKEN, "ask the next origin"],
      [{ isAccepted: true }, "origin_lost"],
      [{}, "refused by the origin"],
    ],
    no_answer: [
      [MOVE_UNTAKEN, "ask the next origin"],
      [{}, "find after no answer"],
    ],
    known: "impossible",
    unknown: "impossible",
    unsupported: "impossible",
    unreachable: "impossible",
    lost: "impossible",
    end: "impossible",
    limit: LIMIT,
    gone: always("origin_gone"),
    ended_elsewhere: always("ended elsewhere"),
  },
  "finding after no answer": {
    head: "impossible",
    refused: "impossible",
    no_answer: "impossible",
    known: [
      [{ wantsStream: true }, "attach"],
      [{}, "origin_lost"],
    ],
    unknown: [
      [RESEND, "resend a broken one"],
      [{ isAccepted: true }, "origin_lost"],
      [{ wantsStream: true }, "refused by us"],
      // llama-server forgets a JSON answer: unknown may mean that it was made.
      [{ wasQuick: false }, "origin_lost"],
      [{}, "refused by us"],
    ],
    unsupported: [
      [{ isAccepted: true }, "origin_lost"],
      [{}, "refused by us"],
    ],
    unreachable: [
      [MOVE_QUICK, "ask the next origin, and stop the one before"],
      [{ isAccepted: true }, "origin_lost"],
      [{}, "refused by us"],
    ],
    lost: "impossible",
    end: "impossible",
    limit: LIMIT,
    gone: always("origin_gone"),
    ended_elsewhere: always("ended elsewhere"),
  },
  "finding after a restart": {
    head: "impossible",
    refused: "impossible",
    no_answer: "impossible",
    known: [
      [{ wantsStream: true }, "attach"],
      [{}, "interrupted"],
    ],
    unknown: [
      [RESEND, "resend"],
      [{ wantsStream: false }, "interrupted"],
      [{}, "origin_lost"],
    ],
    unsupported: always("interrupted"),
    unreachable: always("origin_lost"),
    lost: "impossible",
    end: "impossible",
    limit: LIMIT,
    gone: always("origin_gone"),
    ended_elsewhere: always("ended elsewhere"),
  },
  "finding after a drop": {
    head: "impossible",
    refused: "impossible",
    no_answer: "impossible",
    known: [
      [{ wantsStream: true }, "attach"],
      [{ bodyEnded: true, hasBytes: true }, "origin_truncated"],
      [{}, "origin_lost"],
    ],
    unknown: [
      [RESEND, "resend a broken one"],
      [{ bodyEnded: true, hasBytes: true }, "origin_truncated"],
      [{}, "origin_lost"],
    ],
    unsupported: [
      [{ bodyEnded: true, hasBytes: true }, "origin_truncated"],
      [{}, "origin_lost"],
    ],
    unreachable: [
      [{ bodyEnded: true, hasBytes: true }, "origin_truncated"],
      [{}, "origin_lost"],
    ],
    lost: "impossible",
    end: "impossible",
    limit: LIMIT,
    gone: always("origin_gone"),
    ended_elsewhere: always("ended elsewhere"),
  },
  "attaching after no answer": {
    head: always("read another"),
    refused: "impossible",
    no_answer: "impossible",
    known: "impossible",
    unknown: "impossible",
    unsupported: "impossible",
    // The origin has the request, or had it: its client is not told to try again, and it is not sent again.
    unreachable: always("origin_lost"),
    lost: always("origin_lost"),
    end: "impossible",
    limit: LIMIT,
    gone: always("origin_gone"),
    ended_elsewhere: always("ended elsewhere"),
  },
  "attaching after a restart": {
    head: always("read another"),
    refused: "impossible",
    no_answer: "impossible",
    known: "impossible",
    unknown: "impossible",
    unsupported: "impossible",
    unreachable: always("origin_lost"),
    lost: always("origin_lost"),
    end: "impossible",
    limit: LIMIT,
    gone: always("origin_gone"),
    ended_elsewhere: always("ended elsewhere"),
  },
  "attaching after a drop": {
    head: always("read another"),
    refused: "impossible",
    no_answer: "impossible",
    known: "impossible",
    unknown: "impossible",
    unsupported: "impossible",
    unreachable: [
      [{ bodyEnded: true, hasBytes: true }, "origin_truncated"],
      [{}, "origin_lost"],
    ],
    lost: [
      [{ bodyEnded: true, hasBytes: true }, "origin_truncated"],
      [{}, "origin_lost"],
    ],
    end: "impossible",
    limit: LIMIT,
    gone: always("origin_gone"),
    ended_elsewhere: always("ended elsewhere"),
  },
  "reading the request's own connection": {
    head: "impossible",
    refused: "impossible",
    no_answer: "impossible",
    known: "impossible",
    unknown: "impossible",
    unsupported: "impossible",
    unreachable: "impossible",
    lost: "impossible",
    end: [
      [{ isComplete: true }, "done"],
      // A JSON answer cannot be attached to.
      [{ isEventStream: false }, "origin_lost"],
      [{ hasBytes: false }, "find after a drop"],
      [{}, "attach"],
    ],
    limit: LIMIT,
    gone: always("origin_gone"),
    ended_elsewhere: always("ended elsewhere"),
  },
  "reading another connection": {
    head: "impossible",
    refused: "impossible",
    no_answer: "impossible",
    known: "impossible",
    unknown: "impossible",
    unsupported: "impossible",
    unreachable: "impossible",
    lost: "impossible",
    end: [
      [{ isComplete: true }, "done"],
      [{ isEventStream: false }, "origin_lost"],
      [{ hasBytes: false }, "find after a drop"],
      // It ended twice, and had nothing more to say the second time.
      [{ bodyEnded: true, grew: false }, "origin_truncated"],
      [{}, "attach"],
    ],
    limit: LIMIT,
    gone: always("origin_gone"),
    ended_elsewhere: always("ended elsewhere"),
  },
  over: {
    head: always("stays over"),
    refused: always("stays over"),
    no_answer: always("stays over"),
    known: always("stays over"),
    unknown: always("stays over"),
    unsupported: always("stays over"),
    unreachable: always("stays over"),
    lost: always("stays over"),
    end: always("stays over"),
    limit: always("stays over"),
    gone: always("stays over"),
    ended_elsewhere: always("stays over"),
  },
};

const BOOLEANS = 11;
/** Every combination of the booleans. */
const CASES: readonly Case[] = Array.from({ length: 2 ** BOOLEANS }, (_, bits) => {
  const bit = (at: number) => {
    if (at >= BOOLEANS) throw new Error("There are more booleans than combinations of them");
    return ((bits >> at) & 1) === 1;
  };
  return {
    wantsStream: bit(0),
    isEventStream: bit(1),
    mayResend: bit(2),
    hasBytes: bit(3),
    isAccepted: bit(4),
    wasQuick: bit(5),
    bodyEnded: bit(6),
    isComplete: bit(7),
    grew: bit(8),
    isUntaken: bit(9),
    hasNextOrigin: bit(10),
    limit: "origin_timeout",
  };
});
const LIMIT_CASES = (["origin_timeout", "too_long", "too_large"] as const).flatMap((limit) =>
  CASES.map((some): Case => ({ ...some, limit })),
);

function causeIn(situation: Situation, { wasQuick, bodyEnded }: Case): Cause {
  if (situation.endsWith("no answer")) return { kind: "no_answer", failure: OURS, wasQuick };
  return situation.endsWith("restart") ? { kind: "restarted" } : { kind: "dropped", bodyEnded };
}

function phaseIn(situation: Situation, some: Case): Phase {
  if (situation === "asking") return { name: "asking", resend: undefined };
  if (situation === "over") return { name: "over", verdict: { is: "ended", end: "done" } };
  if (situation.startsWith("finding")) return { name: "finding", cause: causeIn(situation, some) };
  if (situation.startsWith("attaching")) return { name: "attaching", cause: causeIn(situation, some) };
  return { name: "reading", isFirst: situation !== "reading another connection" };
}

function observation(
  saw: Observation["saw"],
  { wasQuick, isUntaken, bodyEnded, isComplete, grew, limit }: Case,
): Observation {
  switch (saw) {
    case "refused":
      return { saw, failure: THEIRS, isUntaken };
    case "no_answer":
      return { saw, failure: OURS, wasQuick, isUntaken };
    case "end":
      return { saw, bodyEnded, isComplete, grew };
    case "limit":
      return { saw, end: limit };
    default:
      return { saw };
  }
}

function nameOf(before: Phase, phase: Phase): Outcome {
  switch (phase.name) {
    case "asking":
      if (!phase.resend) throw new Error("A request that is sent again is a resend");
      if (phase.resend.to === "same origin") return phase.resend.hasBroken ? "resend a broken one" : "resend";
      return phase.resend.isSure ? "ask the next origin" : "ask the next origin, and stop the one before";
    case "finding":
      return phase.cause.kind === "no_answer" ? "find after no answer" : "find after a drop";
    case "attaching":
      return "attach";
    case "reading":
      return phase.isFirst ? "read the first" : "read another";
    case "over":
      if (phase === before) return "stays over";
      if (phase.verdict.is === "refused") {
        return phase.verdict.failure === THEIRS ? "refused by the origin" : "refused by us";
      }
      return phase.verdict.is === "ended" ? phase.verdict.end : "ended elsewhere";
    default:
      return phase satisfies never;
  }
}

function thrownBy(work: () => unknown): unknown {
  const { stackTraceLimit } = Error;
  // Of a hundred thousand errors only the message is read.
  Error.stackTraceLimit = 0;
  try {
    work();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : error;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

function fits(some: Case, when: Partial<Case>): boolean {
  return Object.entries(when).every(([name, value]) => Reflect.get(some, name) === value);
}

describe("the producer's next phase", () => {
  for (const [situation, cells] of Object.entries(TABLE) as [Situation, (typeof TABLE)[Situation]][]) {
    it.each(Object.entries(cells) as [Observation["saw"], Cell][])(
      `while ${situation}, having seen "%s"`,
      (saw, cell) => {
        const used = new Set<Row>();
        for (const some of saw === "limit" ? LIMIT_CASES : CASES) {
          const phase = phaseIn(situation, some);
          const seen = observation(saw, some);
          if (cell === "impossible") {
            const message = `A producer cannot see "${saw}" while ${phase.name}`;
            if (thrownBy(() => next(phase, seen, some)) !== message) expect.fail(`It does not throw: ${message}`);
            continue;
          }
          const row = cell.find(([when]) => fits(some, when));
          if (!row) throw new Error("No row of the table fits");
          used.add(row);
          const outcome = nameOf(phase, next(phase, seen, some));
          if (outcome !== row[1]) expect.fail(`${outcome} in place of ${row[1]}: ${JSON.stringify(some)}`);
        }
        // A row that no case reaches says nothing.
        if (cell !== "impossible") expect(used.size).toBe(cell.length);
      },
    );
  }

  it("remembers why it looks for the session while it attaches, and what the cause was while it looks", () => {
    const [some] = CASES;
    if (!some) throw new Error("No case");
    const facts = { ...some, wantsStream: true, isEventStream: true, hasBytes: true };
    const cause = { kind: "no_answer", failure: OURS, wasQuick: true } as const;
    expect(next({ name: "finding", cause }, { saw: "known" }, facts)).toEqual({ name: "attaching", cause });
    expect(
      next(
        { name: "asking", resend: undefined },
        { saw: "no_answer", failure: OURS, wasQuick: true, isUntaken: false },
        facts,
      ),
    ).toEqual({
      name: "finding",
      cause,
    });
    const end = { saw: "end", bodyEnded: true, isComplete: false, grew: true } as const;
    const dropped = { kind: "dropped", bodyEnded: true };
    expect(next({ name: "reading", isFirst: true }, end, facts)).toEqual({ name: "attaching", cause: dropped });
    expect(next({ name: "reading", isFirst: false }, end, { ...facts, hasBytes: false })).toEqual({
      name: "finding",
      cause: dropped,
    });
  });
});
