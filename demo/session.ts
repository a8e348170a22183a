/**
 * One generation as clients see it: its bytes, who reads them, and the switch that stops it. With a conversation id it
 * is kept in `Sessions` for replay; without one it lives as long as its only client.
 */
import type { ServerResponse } from "node:http";
import { ReplayRing } from "./replay-ring.ts";

/** How much is handed to a socket at once. */
const CHUNK_BYTES = 64 * 1024;

export class Session {
  /** The conversation id as its raw bytes, one a character. Empty without one. */
  readonly key: string;
  readonly ring = new ReplayRing();
  readonly readers = new Set<Reader>();
  /** When it was asked for, and from when a slot took it; Unix milliseconds. */
  startedAt = Date.now();
  completedAt = 0;
  readonly #stop = new AbortController();

  constructor(key: string) {
    this.key = key;
  }

  get isResumable(): boolean {
    return this.key !== "";
  }

  /** Aborted by DELETE, by a second POST, by the only client leaving, and when the origin closes. */
  get stopped(): AbortSignal {
    return this.#stop.signal;
  }

  /** Readers get a clean end without a terminator, as llama-server gives them. */
  stop(): void {
    this.ring.close();
    this.#stop.abort();
  }

  /** Feeds `response` from the byte `from` on, until the session ends or the client leaves. */
  attach(response: ServerResponse, from: number): Reader {
    const reader = new Reader(this.ring, response, from);
    this.readers.add(reader);
    void reader.run().finally(() => this.readers.delete(reader));
    return reader;
  }
}

/**
 * One client being fed from a ring. A reader that lags until its bytes are dropped gets a clean end, as llama-server
 * gives it.
 */
export class Reader {
  offset: number;
  /** When the client last took something, in `performance.now()` milliseconds. */
  movedAt = performance.now();
  #cutAt = Number.POSITIVE_INFINITY;
  readonly #ring: ReplayRing;
  readonly #response: ServerResponse;

  constructor(ring: ReplayRing, response: ServerResponse, from: number) {
    this.#ring = ring;
    this.#response = response;
    this.offset = from;
  }

  /** The connection is destroyed at this offset: the client has every byte before it and none after. */
  cutAt(offset: number): void {
    this.#cutAt = Math.min(this.#cutAt, offset);
    this.#ring.wake();
  }

  async run(): Promise<void> {
    const gone = goneSignal(this.#response);
    while (!gone.aborted) {
      if (this.offset >= this.#cutAt) return cut(this.#response);
      if (this.offset < this.#ring.start) break;
      if (this.offset < this.#ring.end) {
        const chunk = this.#ring.read(this.offset, Math.min(CHUNK_BYTES, this.#cutAt - this.offset));
        const hasRoom = this.#response.write(chunk);
        this.offset += chunk.length;
        if (!hasRoom) await drained(this.#response, gone);
        this.movedAt = performance.now();
      } else if (this.#ring.closed) {
        break;
      } else {
        await this.#ring.changed(gone);
      }
    }
    this.#response.end();
  }
}

/** The sessions that can be replayed, by conversation id: live ones, and finished ones until their time is up. */
export class Sessions {
  readonly #byKey = new Map<string, Session>();
  readonly #ttlMs: number;
  readonly #onForget: (key: string) => void;

  /** @param onForget Called with the key of a session that can no longer be replayed. */
  constructor(ttlMs: number, onForget: (key: string) => void = () => {}) {
    this.#ttlMs = ttlMs;
    this.#onForget = onForget;
  }

  /** Starts a session; the one that had this id is stopped and forgotten. */
  open(key: string): Session {
    const previous = this.get(key);
    if (previous) {
      previous.stop();
      this.forget(previous);
    }
    const session = new Session(key);
    this.#byKey.set(key, session);
    return session;
  }

  get(key: string): Session | undefined {
    return this.#byKey.get(key);
  }

  /** The session with this id and those of its `<id>::<model>` variants. */
  matching(key: string): Session[] {
    return [...this.#byKey.values()].filter((session) => session.key === key || session.key.startsWith(`${key}::`));
  }

  complete(session: Session): void {
    if (this.get(session.key) !== session) return;
    session.completedAt = Date.now();
    setTimeout(() => this.forget(session), this.#ttlMs).unref();
  }

  forget(session: Session): void {
    if (this.get(session.key) !== session) return;
    this.#byKey.delete(session.key);
    this.#onForget(session.key);
  }
}

/** Destroys the connection, but lets what was written leave first. */
export function cut(response: ServerResponse): void {
  const { socket } = response;
  socket?.write("", () => socket.destroy());
}

/** Aborts when the client has left, or has its whole answer. */
export function goneSignal(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  if (response.closed) gone.abort();
  else response.once("close", () => gone.abort());
  return gone.signal;
}

function drained(response: ServerResponse, gone: AbortSignal): Promise<void> {
  if (gone.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      response.removeListener("drain", done);
      gone.removeEventListener("abort", done);
      resolve();
    };
    response.once("drain", done);
    gone.addEventListener("abort", done, { once: true });
  });
}
