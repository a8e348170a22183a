/**
 * The load generator, a process of its own: opens streams, follows them event by event, and checks that each is
 * complete. Takes commands over IPC, one answer each (see `Commands`); a group is the streams opened together.
 */
import { Agent, type ClientRequest, type IncomingMessage, request } from "node:http";
import { connect } from "node:net";
import { nowMicros, readDigits, STAMP_BYTES, STAMP_START } from "./event.ts";

/** What to ask for; the contestants say how. */
export interface Call {
  readonly method: "GET" | "POST" | "PUT";
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** The events come from here, once the call itself has been answered. */
  readonly andThen?: Call;
}

export interface Progress {
  /** Streams that had a first event. */
  readonly begun: number;
  /** Streams that are over, however. */
  readonly ended: number;
  /** Events received by all streams. */
  readonly events: number;
}

export interface Summary {
  readonly streams: number;
  readonly events: number;
  /** Streams that were not all events, in order, then the terminator, then a clean end; and why, of the first few. */
  readonly errors: number;
  readonly reasons: readonly string[];
  /** Milliseconds from the request to the first event, one a stream, sorted. */
  readonly firstEvent: readonly number[];
  /** Milliseconds from the origin's write to here, of the events since the last `mark`, sorted. */
  readonly latency: readonly number[];
  /** Milliseconds from the first request to the last end. */
  readonly took: number;
}

export interface Commands {
  /** Opens the streams one after another over `rampMs`. `events`: how many each must have. Answers at once. */
  open: { args: { calls: readonly Call[]; rampMs: number; events: number }; answer: null };
  progress: { args: null; answer: Progress };
  /** From now on latencies are kept; those so far are forgotten. */
  mark: { args: null; answer: Progress };
  /** No latency is kept from now on. */
  unmark: { args: null; answer: Progress };
  /** Cuts all streams, as clients that vanish. */
  leave: { args: null; answer: null };
  /** Waits until all streams are over. */
  finish: { args: { limitMs: number }; answer: Summary };
  /** Cuts and forgets what a measurement that failed has left. */
  reset: { args: null; answer: null };
  /** Reads `call` with so many readers at once as fast as it comes; milliseconds from the first byte asked to the last. */
  sweep: { args: { call: Call; readers: number }; answer: { ms: number; rawBytes: number } };
  /** One request, its whole answer. */
  ask: { args: { call: Call }; answer: { status: number; ms: number; bytes: number; body: string } };
}

class Follower {
  begun = false;
  ended = false;
  problem: string | undefined;
  #isLeaving = false;
  #carry = Buffer.alloc(0);
  #next = 0;
  #hasTerminator = false;
  /** What came after the last event; the terminator is in it. */
  #tail = "";
  #sent: ClientRequest;
  readonly #asked = nowMicros();
  readonly #group: Group;

  constructor(group: Group, call: Call) {
    this.#group = group;
    this.#sent = this.#ask(call);
  }

  leave(): void {
    this.#isLeaving = true;
    this.#sent.destroy();
  }

  #ask({ url, method, headers, body, andThen }: Call): ClientRequest {
    const sent = request(url, { method, headers, agent: this.#group.agent });
    sent.once("response", (response) => {
      if (!andThen) return this.#follow(response);
      response.resume().once("end", () => {
        this.#sent = this.#ask(andThen);
      });
    });
    sent.once("error", (error) => this.#end(String(error)));
    sent.end(body);
    return sent;
  }

  #follow(response: IncomingMessage): void {
    if (response.statusCode !== 200) this.problem = `status ${response.statusCode}`;
    response.on("data", (chunk: Buffer) => this.#take(chunk));
    response.once("error", (error) => this.#end(String(error)));
    response.once("end", () => {
      if (this.#next !== this.#group.wanted) this.#end(`${this.#next} of ${this.#group.wanted} events`);
      else this.#end(this.#hasTerminator ? undefined : `no terminator: ${JSON.stringify(this.#tail)}`);
    });
  }

  #take(chunk: Buffer): void {
    const now = nowMicros();
    const bytes = this.#carry.length === 0 ? chunk : Buffer.concat([this.#carry, chunk]);
    let at = bytes.indexOf(STAMP_START);
    let rest = bytes.length;
    for (; at >= 0; at = bytes.indexOf(STAMP_START, at + STAMP_BYTES)) {
      if (at + STAMP_BYTES > bytes.length) {
        rest = at;
        break;
      }
      this.#count(now, readDigits(bytes, at + 1, 16), readDigits(bytes, at + 18, 8));
    }
    this.#carry = rest < bytes.length ? Buffer.from(bytes.subarray(rest)) : EMPTY;
    if (this.#next !== this.#group.wanted) return;
    this.#tail = (this.#tail + chunk.toString("latin1")).slice(-TAIL_CHARS);
    this.#hasTerminator ||= this.#tail.includes("[DONE]");
  }

  #count(now: number, when: number, number: number): void {
    const group = this.#group;
    if (!this.begun) {
      this.begun = true;
      group.begun++;
      group.firstEvent.push((now - this.#asked) / 1e3);
    }
    if (number !== this.#next) this.problem ??= `event ${number} in place of ${this.#next}`;
    this.#next = number + 1;
    group.events++;
    if (group.isMarked) group.latency.push((now - when) / 1e3);
  }

  #end(problem: string | undefined): void {
    if (this.ended) return;
    this.ended = true;
    if (!this.#isLeaving) this.problem ??= problem;
    this.#group.ended++;
  }
}

const EMPTY = Buffer.alloc(0);
const TAIL_CHARS = 1_000;

class Group {
  readonly agent = new Agent({ keepAlive: false, maxSockets: Number.POSITIVE_INFINITY });
  readonly wanted: number;
  readonly streams: Follower[] = [];
  readonly firstEvent: number[] = [];
  latency: number[] = [];
  isMarked = false;
  /** The next `open` begins a new one. */
  isOver = false;
  begun = 0;
  ended = 0;
  events = 0;
  planned = 0;
  readonly #started = nowMicros();

  constructor(wanted: number) {
    this.wanted = wanted;
  }

  open(calls: readonly Call[], rampMs: number): void {
    this.planned += calls.length;
    calls.forEach((call, i) => {
      setTimeout(
        () => {
          if (!this.isOver) this.streams.push(new Follower(this, call));
        },
        (rampMs * i) / calls.length,
      );
    });
  }

  progress(): Progress {
    return { begun: this.begun, ended: this.ended, events: this.events };
  }

  async finish(limitMs: number): Promise<Summary> {
    const deadline = nowMicros() + limitMs * 1e3;
    while (this.ended < this.planned && nowMicros() < deadline) await new Promise((done) => setTimeout(done, 5));
    const took = (nowMicros() - this.#started) / 1e3;
    for (const stream of this.streams) {
      if (stream.ended) continue;
      stream.problem ??= `not over after ${limitMs} ms`;
      stream.leave();
    }
    const problems = this.streams.flatMap(({ problem }) => (problem === undefined ? [] : [problem]));
    return {
      streams: this.planned,
      events: this.events,
      errors: problems.length,
      reasons: [...new Set(problems)].slice(0, 3),
      firstEvent: this.firstEvent.sort((a, b) => a - b),
      latency: this.latency.sort((a, b) => a - b),
      took,
    };
  }
}

let group = new Group(0);
group.isOver = true;

const handlers: { [K in keyof Commands]: (args: Commands[K]["args"]) => Promise<Commands[K]["answer"]> } = {
  async open({ calls, rampMs, events }) {
    if (group.isOver) group = new Group(events);
    group.open(calls, rampMs);
    return null;
  },
  async progress() {
    return group.progress();
  },
  async mark() {
    group.isMarked = true;
    group.latency = [];
    return group.progress();
  },
  async unmark() {
    group.isMarked = false;
    return group.progress();
  },
  async leave() {
    for (const stream of group.streams) stream.leave();
    return null;
  },
  async finish({ limitMs }) {
    const summary = await group.finish(limitMs);
    group.isOver = true;
    return summary;
  },
  async reset() {
    for (const stream of group.streams) stream.leave();
    group.isOver = true;
    return null;
  },
  async sweep({ call, readers }) {
    const started = nowMicros();
    const sizes = await Promise.all(Array.from({ length: readers }, () => drain(call)));
    return { ms: (nowMicros() - started) / 1e3, rawBytes: sizes.reduce((a, b) => a + b, 0) };
  },
  async ask({ call }) {
    const started = nowMicros();
    const body = call.body === undefined ? {} : { body: call.body };
    const response = await fetch(call.url, { method: call.method, headers: call.headers, ...body });
    const bytes = Buffer.from(await response.arrayBuffer());
    const ms = (nowMicros() - started) / 1e3;
    return { status: response.status, ms, bytes: bytes.length, body: bytes.toString("latin1", 0, 65_536) };
  },
};

const READ_BYTES = 262_144;

/** Plain sockets, one buffer: an HTTP parser in JavaScript would be slower than what it reads from. */
function drain(call: Call): Promise<number> {
  const url = new URL(call.url);
  const headers = { ...call.headers, Host: url.host, Connection: "close" };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return new Promise((resolve, reject) => {
    let total = 0;
    let status = "";
    const onread = {
      buffer: Buffer.allocUnsafe(READ_BYTES),
      callback(length: number, buffer: Uint8Array) {
        if (total === 0) status = Buffer.from(buffer.subarray(9, 12)).toString("latin1");
        total += length;
        return true;
      },
    };
    const socket = connect({ host: url.hostname, port: Number(url.port), onread });
    socket.once("error", reject);
    socket.once("close", () =>
      status === "200" ? resolve(total) : reject(new Error(`${call.url}: status ${status}`)),
    );
    socket.write(`${call.method} ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join("")}\r\n`);
  });
}

type Message = { id: number; name: keyof Commands; args: never };

process.on("message", ({ id, name, args }: Message) => {
  handlers[name](args).then(
    (value) => process.send?.({ id, value }),
    (error: unknown) => process.send?.({ id, error: String(error) }),
  );
});
process.on("disconnect", () => process.exit());
process.send?.({ id: 0, value: "ready" });
