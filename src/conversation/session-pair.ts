/** The conversation's current session and the one before it, as succession.ts has them: does what that says. */
import { REPLACED } from "../errors.ts";
import type { ActiveSession } from "./active-session.ts";
import type { Session } from "./session/session.ts";
import { type Change, type Effect, type Pair, succeed } from "./succession.ts";

export interface PairEvents {
  /** The session has ended by the change: its slot at the origin is to be freed. */
  onEnd(member: ActiveSession): void;
  /** Its record, its request and its log are to go. */
  onDelete(member: ActiveSession): void;
}

export class SessionPair {
  readonly #events: PairEvents;
  /** Restored from its rows after a restart. */
  #pair: Pair<ActiveSession> = { current: undefined, previous: undefined };

  constructor(events: PairEvents) {
    this.#events = events;
  }

  get current(): ActiveSession | undefined {
    return this.#pair.current;
  }

  get previous(): ActiveSession | undefined {
    return this.#pair.previous;
  }

  restore(current: ActiveSession | undefined, previous: ActiveSession | undefined): void {
    this.#pair = { current, previous };
  }

  memberOf(session: Session): ActiveSession | undefined {
    return [this.#pair.current, this.#pair.previous].find((member) => member?.session === session);
  }

  /** Returns whether the change had effects. All of them happen in this turn. */
  change(change: Change<ActiveSession>): boolean {
    const [pair, effects] = succeed(this.#pair, change);
    this.#pair = pair;
    for (const effect of effects) this.#apply(effect);
    return effects.length > 0;
  }

  #apply(effect: Effect<ActiveSession>): void {
    switch (effect.do) {
      case "end":
        effect.member.session.finish(effect.as, effect.as === "replaced" ? REPLACED : undefined);
        this.#events.onEnd(effect.member);
        break;
      case "delete":
        this.#events.onDelete(effect.member);
        break;
      default:
        effect satisfies never;
    }
  }
}
