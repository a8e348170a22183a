/**
 * Who is the conversation's session, who was it before, and what must end or be deleted when that changes. Pure.
 *
 *   previous    current
 *   ┌───────┐   ┌────────────────┐
 *   │ ended │   │ asking or later│    previous: only while the origin has not accepted the current one; if the origin
 *   └───────┘   └────────────────┘    refuses it, the previous one is current again
 *
 * I1: at most one session is live, and it is the current one. I2: a previous one exists only until the current is accepted.
 */
import { isAccepted, isLive, type SessionState } from "./session/session-state.ts";

export interface Member {
  /** The conversation id as the client gave it, `::model` included. */
  readonly id: string;
  readonly state: SessionState;
}

export interface Pair<M extends Member> {
  readonly current: M | undefined;
  readonly previous: M | undefined;
}

export type Change<M extends Member> =
  /** A new request is about to begin. */
  | { readonly type: "replacing" }
  | { readonly type: "begun"; readonly member: M }
  | { readonly type: "accepted"; readonly member: M }
  | { readonly type: "refused"; readonly member: M }
  | { readonly type: "stopped"; readonly id: string }
  | { readonly type: "expired" };

export type Effect<M extends Member> =
  /** The session ends so, and its slot at the origin is freed. */
  | { readonly do: "end"; readonly member: M; readonly as: "replaced" | "stopped" }
  /** Its record, its request and its log go. */
  | { readonly do: "delete"; readonly member: M };

/** The pair after `change`, and what is to be done, in this order and in one turn. */
export function succeed<M extends Member>(
  pair: Pair<M>,
  change: Change<M>,
): readonly [pair: Pair<M>, effects: readonly Effect<M>[]] {
  const { current, previous } = pair;
  switch (change.type) {
    case "replacing":
      return replacing(pair);
    case "begun":
      return [{ current: change.member, previous }, []];
    case "accepted":
      // With the new answer's first byte the one before is gone for good.
      if (change.member !== current) return [pair, []];
      return [{ current, previous: undefined }, deletionOf(previous)];
    case "refused":
      if (change.member !== current) return [pair, []];
      return [{ current: previous, previous: undefined }, deletionOf(current)];
    case "stopped":
      return stopped(pair, change.id);
    case "expired":
      return [{ current: undefined, previous: undefined }, [...deletionOf(current), ...deletionOf(previous)]];
    default:
      return change satisfies never;
  }
}

/** What the origin had accepted is kept, in case it refuses the new request. */
function replacing<M extends Member>({ current, previous }: Pair<M>): readonly [Pair<M>, readonly Effect<M>[]] {
  if (!current) return [{ current, previous }, []];
  const end = endingOf(current, "replaced");
  if (!isAccepted(current.state)) return [{ current: undefined, previous }, [...end, ...deletionOf(current)]];
  return [{ current: undefined, previous: current }, [...end, ...deletionOf(previous)]];
}

/** Exactly the id is stopped and forgotten: a previous session of another id is current again. */
function stopped<M extends Member>(pair: Pair<M>, id: string): readonly [Pair<M>, readonly Effect<M>[]] {
  const { current, previous } = pair;
  const keptPrevious = previous?.id === id ? undefined : previous;
  const forgotten = previous?.id === id ? deletionOf(previous) : [];
  if (current?.id !== id) return [{ current, previous: keptPrevious }, forgotten];
  const effects = [...endingOf(current, "stopped"), ...deletionOf(current), ...forgotten];
  return [{ current: keptPrevious, previous: undefined }, effects];
}

function endingOf<M extends Member>(member: M, as: "replaced" | "stopped"): Effect<M>[] {
  return isLive(member.state) ? [{ do: "end", member, as }] : [];
}

function deletionOf<M extends Member>(member: M | undefined): Effect<M>[] {
  return member ? [{ do: "delete", member }] : [];
}
