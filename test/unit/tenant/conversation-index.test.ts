/**
 * The index against the conversations it is about: messages are lost, come twice and late, and the object is killed
 * between any two of them.
 */
import { expect, it } from "vitest";
import type { LookupRow } from "../../../src/protocol.ts";
import { STALE_MS } from "../../../src/tenant/conversation-index.ts";
import { Ledger } from "../../../src/tenant/ledger.ts";
import { type EndedSession, HEARTBEAT_MS, type LiveSession, type Standing } from "../../../src/tenant/messages.ts";
import { Random } from "../../support/random.ts";
import { NodeStorage } from "../support/node-storage.ts";

const TTL_MS = 600_000;
const CONVERSATIONS = ["a", "b", "c", "d", "e"];
const RUNS = 60;
const STEPS = 200;

/** A conversation as its own object knows it: the truth. */
interface Conversation {
  live?: LiveSession;
  row?: { row: LookupRow; expiresAt: number };
}

class World {
  readonly random: Random;
  readonly storage = new NodeStorage();
  readonly conversations = new Map<string, Conversation>(CONVERSATIONS.map((name) => [name, {}]));
  now = 1_795_000_000_000;
  ledger: Ledger;
  #late: ((ledger: Ledger) => void)[] = [];
  #sessions = 0;

  constructor(random: Random) {
    this.random = random;
    this.ledger = this.#open();
  }

  kill(): void {
    this.storage.crash();
    this.ledger = this.#open();
  }

  begin(name: string): void {
    const conversation = this.#get(name);
    const { live: replaced } = conversation;
    const live = { conversation: name, session: `s${++this.#sessions}`, key: "k", startedAt: this.now, bytes: 1 };
    conversation.live = live;
    this.#say((ledger) => ledger.renewed(live));
    if (replaced) this.#say((ledger) => ledger.ended(this.#ended(replaced, {})));
  }

  /** `stopped`: nothing is kept. */
  end(name: string, stopped: boolean): void {
    const conversation = this.#get(name);
    const { live } = conversation;
    if (!live) return;
    delete conversation.live;
    if (stopped) {
      delete conversation.row;
      // DELETE waits for this one.
      this.#sayNow((ledger) => ledger.ended(this.#ended(live, {})));
    } else {
      const kept = { row: rowOf(live), expiresAt: this.now + TTL_MS };
      conversation.row = kept;
      this.#say((ledger) => ledger.ended(this.#ended(live, kept)));
    }
  }

  delete(name: string): void {
    const conversation = this.#get(name);
    const { row } = conversation;
    if (conversation.live || !row) return;
    delete conversation.row;
    this.#sayNow((ledger) => ledger.struck({ conversation: name, session: row.row.session }));
  }

  heartbeat(isHeard: boolean): void {
    this.now += HEARTBEAT_MS;
    for (const { live } of this.conversations.values()) {
      if (live && isHeard) this.#sayNow((ledger) => ledger.renewed(live));
      else if (live) this.#say((ledger) => ledger.renewed(live));
    }
    for (const conversation of this.conversations.values()) {
      if (conversation.row && conversation.row.expiresAt <= this.now) delete conversation.row;
    }
  }

  /** What was late comes, in any order. */
  deliver(): void {
    while (this.#late.length > 0) {
      const [message] = this.#late.splice(this.random.between(0, this.#late.length - 1), 1);
      if (message) this.#sayNow(message);
    }
  }

  settle(): void {
    for (const { conversation, session } of this.ledger.stale()) {
      this.#sayNow((ledger) => ledger.settle(conversation, session, this.#standing(conversation)));
    }
    this.ledger.sweep();
    this.storage.commit();
  }

  #standing(name: string): Standing {
    const { live, row } = this.#get(name);
    return { key: "k", bytes: 1, ...(live && { live }), ...row };
  }

  #ended({ conversation, session }: LiveSession, kept: { row?: LookupRow; expiresAt?: number }): EndedSession {
    const usage = { key: "k", end: "done", at: this.now } as const;
    return { conversation, session, bytes: 1, holdsSlot: false, usage, ...kept };
  }

  #say(message: (ledger: Ledger) => void): void {
    const fate = this.random.between(0, 9);
    if (fate === 0) return;
    if (fate === 1) this.#late.push(message);
    else this.#sayNow(message);
    if (fate === 2) this.#late.push(message);
  }

  #sayNow(message: (ledger: Ledger) => void): void {
    message(this.ledger);
    this.storage.commit();
  }

  #get(name: string): Conversation {
    const conversation = this.conversations.get(name);
    if (!conversation) throw new Error(`No conversation ${name}`);
    return conversation;
  }

  #open(): Ledger {
    return new Ledger({ sql: this.storage.sql, now: () => this.now, tenant: "t", defaultBytes: 2 ** 40 });
  }
}

function rowOf({ conversation, session }: LiveSession): LookupRow {
  return {
    conversation_id: conversation,
    is_done: true,
    total_bytes: 1,
    started_at: 1,
    completed_at: 2,
    session,
    end: "done",
    dropped_bytes: 0,
    reattached: 0,
    origin: "default",
  };
}

/** One random step. */
function step(world: World): void {
  const { random } = world;
  const name = CONVERSATIONS[random.between(0, CONVERSATIONS.length - 1)] ?? "a";
  world.now += random.between(1, 2_000);
  const what = random.between(0, 12);
  if (what <= 3) world.begin(name);
  else if (what <= 5) world.end(name, false);
  else if (what === 6) world.end(name, true);
  else if (what === 7) world.delete(name);
  else if (what === 8) world.kill();
  else if (what === 9) world.deliver();
  else if (what === 10) world.settle();
  else world.heartbeat(random.between(0, 1) === 0);
}

it(`heals within two heartbeats, whatever is lost, doubled, late or killed (${RUNS} runs of ${STEPS} steps)`, () => {
  const random = new Random();
  for (let run = 0; run < RUNS; run++) {
    const world = new World(random);
    for (let i = 0; i < STEPS; i++) step(world);
    const seed = `seed ${random.seed}, run ${run}`;

    // One heartbeat that is heard: nothing live is hidden.
    world.deliver();
    world.heartbeat(true);
    const live = CONVERSATIONS.filter((name) => world.conversations.get(name)?.live);
    expect(world.ledger.lookup(CONVERSATIONS).live, seed).toEqual(expect.arrayContaining(live));

    // Silence, and the question that follows: nothing is live any more that is not, and no slot is left.
    world.now += STALE_MS;
    world.heartbeat(true);
    world.settle();
    expect(world.ledger.lookup(CONVERSATIONS).live, seed).toEqual(live);
    expect(world.ledger.stale(), seed).toEqual([]);

    // All end, all expire: no row is left but usage.
    for (const name of live) world.end(name, false);
    world.deliver();
    world.now += STALE_MS + 1;
    world.settle();
    world.now += TTL_MS;
    world.settle();
    for (const table of ["live", "ended", "hold", "accepted"]) {
      expect(world.storage.sql.all(`SELECT * FROM ${table}`), `${table}, ${seed}`).toEqual([]);
    }
  }
});
