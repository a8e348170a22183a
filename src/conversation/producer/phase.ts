/**
 * What a producer does next, as a pure function of what it does and what it saw.
 *
 *           ┌────── resend: the origin says unknown twice, no byte is stored      ◀─────┐
 *  start ─▶ asking ── no answer ─▶ finding ── known ─▶ attaching ── head ─▶ reading ── complete ─▶ done
 *           │                      ▲  ▲                    ▲                  │  │
 *           └─ head ─▶ reading     │  └── drop, no byte ───┼──────────────────┘  │
 *              restart ────────────┘                       └──────── drop ───────┘
 *
 *  asking, finding ── the origin has not taken it, another one serves its model ─▶ asking that one
 *
 *  no way on ─▶ refused · origin_lost · origin_truncated · interrupted
 *  a limit ─▶ origin_timeout · too_long · too_large       outside ─▶ ended_elsewhere (stopped, replaced)
 *
 * I9: a prompt is sent again only if no byte of an answer is stored, the request wanted a stream, and the origin said twice
 * that it knows nothing of it. It is sent to another origin only if no origin has accepted it and the one before did not take
 * it: it said so, or whatever stands in front of it did, or the request's connection and all those that were to ask for it
 * failed at once.
 */
import type { StartFailure } from "../session/session-state.ts";
import type { Failure } from "./failure-messages.ts";

/** Why the producer looks for the session at the origin. */
export type Cause =
  /** The request got no answer. `wasQuick`: the connection failed at once, so it met no origin that was there. */
  | { readonly kind: "no_answer"; readonly failure: StartFailure; readonly wasQuick: boolean }
  | { readonly kind: "restarted" }
  /** The connection ended before the answer. `bodyEnded`: cleanly. */
  | { readonly kind: "dropped"; readonly bodyEnded: boolean };

/** Where a request goes once more. */
export type Resend =
  /** `hasBroken`: the one before broke on its way. */
  | { readonly to: "same origin"; readonly hasBroken: boolean }
  /** `isSure`: the one before has not taken it, by its own word; if not, what it may have is to be stopped. */
  | { readonly to: "next origin"; readonly isSure: boolean };

export type Verdict =
  | { readonly is: "ended"; readonly end: "done" | Failure }
  | { readonly is: "refused"; readonly failure: StartFailure }
  | { readonly is: "ended_elsewhere" };

export type Phase =
  /** `resend`: the request goes out once more. */
  | { readonly name: "asking"; readonly resend: Resend | undefined }
  | { readonly name: "finding"; readonly cause: Cause }
  | { readonly name: "attaching"; readonly cause: Cause }
  /** `isFirst`: the request's own connection. */
  | { readonly name: "reading"; readonly isFirst: boolean }
  | { readonly name: "over"; readonly verdict: Verdict };

export type Observation =
  | { readonly saw: "head" }
  /** `isUntaken`, here and below: the origin does not have the request, whatever it would have said to it. */
  | { readonly saw: "refused"; readonly failure: StartFailure; readonly isUntaken: boolean }
  | {
      readonly saw: "no_answer";
      readonly failure: StartFailure;
      readonly wasQuick: boolean;
      readonly isUntaken: boolean;
    }
  /** The session's origin is not in the configuration any more. */
  | { readonly saw: "gone" }
  | { readonly saw: "known" | "unknown" | "unsupported" | "unreachable" | "lost" }
  /** The connection is over. `grew`: it brought whole events to the log. */
  | { readonly saw: "end"; readonly bodyEnded: boolean; readonly isComplete: boolean; readonly grew: boolean }
  | { readonly saw: "limit"; readonly end: "origin_timeout" | "too_long" | "too_large" }
  | { readonly saw: "ended_elsewhere" };

/** What holds at the time of the observation. */
export interface Facts {
  /** The request's `stream` field: llama-server forgets JSON answers, and cannot be asked for them again. */
  readonly wantsStream: boolean;
  /** The answer is an event stream: it can be attached to. */
  readonly isEventStream: boolean;
  /** The request is still stored, and has not been sent too often: the bounds are the producer's. */
  readonly mayResend: boolean;
  /** The origin has accepted the request, this time or before it was sent again: there is a session, and it ends. */
  readonly isAccepted: boolean;
  /** Bytes of the answer are in the log. */
  readonly hasBytes: boolean;
  /** Another origin serves the model, and has not been asked. */
  readonly hasNextOrigin: boolean;
}

/** The phase after `seen`. Throws on a pair that cannot be; `over` is final. */
export function next(phase: Phase, seen: Observation, facts: Facts): Phase {
  if (phase.name === "over") return phase;
  if (seen.saw === "limit") return ended(seen.end);
  if (seen.saw === "ended_elsewhere") return over({ is: "ended_elsewhere" });
  if (seen.saw === "gone") return ended("origin_gone");
  switch (phase.name) {
    case "asking":
      return afterAsking(seen, facts);
    case "finding":
      return afterFinding(phase.cause, seen, facts);
    case "attaching":
      return afterAttaching(phase.cause, seen, facts);
    case "reading":
      return afterReading(phase.isFirst, seen, facts);
    default:
      return phase satisfies never;
  }
}

function afterAsking(seen: Observation, facts: Facts): Phase {
  switch (seen.saw) {
    case "head":
      return { name: "reading", isFirst: true };
    case "refused":
      return seen.isUntaken && mayMove(facts) ? moving(true) : refused(seen.failure, facts);
    case "no_answer":
      if (seen.isUntaken && mayMove(facts)) return moving(true);
      return { name: "finding", cause: { kind: "no_answer", failure: seen.failure, wasQuick: seen.wasQuick } };
    default:
      throw impossible("asking", seen);
  }
}

function afterFinding(cause: Cause, seen: Observation, facts: Facts): Phase {
  switch (seen.saw) {
    case "known":
      return facts.wantsStream ? { name: "attaching", cause } : giveUp(cause, facts, seen.saw);
    case "unknown":
      if (facts.wantsStream && facts.mayResend) {
        return { name: "asking", resend: { to: "same origin", hasBroken: cause.kind !== "restarted" } };
      }
      return giveUp(cause, facts, seen.saw);
    case "unsupported":
      return giveUp(cause, facts, seen.saw);
    case "unreachable":
      return metNoOrigin(cause) && mayMove(facts) ? moving(false) : giveUp(cause, facts, seen.saw);
    default:
      throw impossible("finding", seen);
  }
}

function afterAttaching(cause: Cause, seen: Observation, facts: Facts): Phase {
  switch (seen.saw) {
    case "head":
      return { name: "reading", isFirst: false };
    case "lost":
    case "unreachable":
      // The origin has the request, or had it: it is not sent again, and its client is not told to.
      return cause.kind === "no_answer" ? ended("origin_lost") : giveUp(cause, facts);
    default:
      throw impossible("attaching", seen);
  }
}

function afterReading(isFirst: boolean, seen: Observation, facts: Facts): Phase {
  if (seen.saw !== "end") throw impossible("reading", seen);
  if (seen.isComplete) return ended("done");
  // There is no second connection for a JSON answer.
  if (!facts.isEventStream) return ended("origin_lost");
  const cause: Cause = { kind: "dropped", bodyEnded: seen.bodyEnded };
  if (!facts.hasBytes) return { name: "finding", cause };
  // A clean end proves little on a way through proxies; a second one with nothing more to say proves it.
  const isAllThereIs = seen.bodyEnded && !isFirst && !seen.grew;
  return isAllThereIs ? ended("origin_truncated") : { name: "attaching", cause };
}

/** Once an origin has accepted the request its answer belongs there. */
function mayMove({ hasNextOrigin, mayResend, isAccepted }: Facts): boolean {
  return hasNextOrigin && mayResend && !isAccepted;
}

/** Whether the request's own connection failed at once: then further failures say that nobody is there to have it. */
export function metNoOrigin(cause: Cause): boolean {
  return cause.kind === "no_answer" && cause.wasQuick;
}

function moving(isSure: boolean): Phase {
  return { name: "asking", resend: { to: "next origin", isSure } };
}

/** There is no way to the rest of the answer; `saw` is what the origin said of it, if it was asked. */
function giveUp(cause: Cause, facts: Facts, saw?: "known" | "unknown" | "unsupported" | "unreachable"): Phase {
  switch (cause.kind) {
    case "no_answer":
      return giveUpUnanswered(cause, facts, saw);
    case "restarted":
      // A JSON answer, which goes on at the origin or was forgotten there, or an origin without replay.
      if (saw === "unknown" && !facts.wantsStream) return ended("interrupted");
      return ended(saw === "known" || saw === "unsupported" ? "interrupted" : "origin_lost");
    case "dropped":
      return ended(cause.bodyEnded && facts.hasBytes ? "origin_truncated" : "origin_lost");
    default:
      return cause satisfies never;
  }
}

/** Of a request that the origin does not have, its client may try again; of a JSON answer that was made or is, not. */
function giveUpUnanswered(cause: Cause & { kind: "no_answer" }, facts: Facts, saw: string | undefined): Phase {
  const mayBeThere = !facts.wantsStream && (saw === "known" || (saw === "unknown" && !cause.wasQuick));
  return mayBeThere ? ended("origin_lost") : refused(cause.failure, facts);
}

/** Its readers have an answer already if an earlier connection brought a head: a refusal is then no answer to anybody. */
function refused(failure: StartFailure, { isAccepted }: Facts): Phase {
  return isAccepted ? ended("origin_lost") : over({ is: "refused", failure });
}

function ended(end: "done" | Failure): Phase {
  return over({ is: "ended", end });
}

function over(verdict: Verdict): Phase {
  return { name: "over", verdict };
}

function impossible(name: Phase["name"], seen: Observation): Error {
  return new Error(`A producer cannot see "${seen.saw}" while ${name}`);
}
