/** A session with what belongs to it in its object. */
import type { Slot } from "./log/row-keys.ts";
import type { Producer } from "./producer/producer.ts";
import type { Session } from "./session/session.ts";
import type { SessionState } from "./session/session-state.ts";
import type { Member } from "./succession.ts";

export class ActiveSession implements Member {
  readonly session: Session;
  readonly slot: Slot;
  readonly producer: Producer;

  constructor(session: Session, slot: Slot, producer: Producer) {
    this.session = session;
    this.slot = slot;
    this.producer = producer;
  }

  get id(): string {
    return this.session.record.id;
  }

  get state(): SessionState {
    return this.session.record.state;
  }
}
