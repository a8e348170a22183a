/**
 * One answer as one unbroken body, over as many connections as it takes.
 *
 *   connection 1  ██████████╳                     dropped at byte 10
 *   connection 2            ███│                  silent, or the device woke: 3 is opened before 2 is given up
 *   connection 3               ████████████✓      the family's last event, or the gateway's word
 *   ─────────────────────────────────────▶ body   each byte once, in order
 *
 * Reads only when it is read: a consumer that stalls costs what one piece takes. Nothing waits, listens or ticks between
 * two reads, so a body that is forgotten halfway leaves nothing behind but its connection.
 */
import type { RouteFamily } from "../families.ts";
import { EVENT_STREAM } from "../protocol.ts";
import type { Asked } from "./asked.ts";
import { type Ending, endingByRefusal, endingInBytes, endingInRow } from "./ending.ts";
import { EventTail } from "./event-tail.ts";
import type { Gateway } from "./gateway.ts";
import type { HoldfastError } from "./holdfast-error.ts";
import type { AnswerEnd, AnswerState } from "./options.ts";
import type { Patience, Try } from "./patience.ts";

export interface ResumedBodyOptions {
  gateway: Gateway;
  asked: Asked;
  patience: Patience;
  /** Of the POST's route: tells the last event. After `attach` only the gateway knows. */
  family: RouteFamily | undefined;
  from: number;
  onState: (state: AnswerState) => void;
}

export type Ask = (attempt: AbortSignal) => Promise<Response>;

type Said = { name: "live" } | { name: "waiting"; retryInMs: number; cause: unknown } | ({ name: "ended" } & Over);
type Over = { how: AnswerEnd; error?: HoldfastError };

/** Between connections that the gateway answers, and that bring nothing. */
const LONGEST_PAUSE_MS = 2_000;

const SILENT = new Error("The connection is silent");
const CUT = new Error("The connection ended");

export class ResumedBody {
  readonly stream: ReadableStream<Uint8Array>;
  readonly #options: ResumedBodyOptions;
  readonly #tail = new EventTail();
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  /** Ends the request of the connection. */
  #abort: AbortController | undefined;
  /** Whether this connection has brought anything. */
  #hasDelivered = false;
  #offset: number;
  #resumes = 0;
  #isEventStream = true;
  /** Of a JSON answer: the offset of its end, where the headers tell it. */
  #length = 0;

  constructor(options: ResumedBodyOptions) {
    this.#options = options;
    this.#offset = options.from;
    options.patience.onWaiting = this.#waiting;
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => this.#pull(),
        cancel: () => this.#over({ how: "detached" }),
      },
      { highWaterMark: 0 },
    );
  }

  /**
   * Gets the first connection: `ask` is the POST, or else it is a GET like those that follow. In either case it may take
   * several tries. Rejects with the app's reason if the app leaves meanwhile.
   */
  async open(signal: AbortSignal | null | undefined, ask?: Ask, ms?: number): Promise<Response> {
    this.#options.patience.heed(signal, () => {
      // The app leaves: its own read fails, the session goes on.
      this.#controller?.error(signal?.reason);
      this.#over({ how: "detached" });
    });
    try {
      return await this.#connect(ask, ms);
    } catch (error) {
      this.#fail(error);
    }
  }

  async #pull(): Promise<void> {
    try {
      const next = await this.#next().catch((error) => this.#endingDespite(error));
      if (this.#options.patience.isOver || !next) return;
      if ("how" in next) {
        this.#controller?.close();
        this.#over(next);
      } else {
        this.#controller?.enqueue(next);
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  /** The next bytes, or how it ended; `undefined` when the app has left. */
  async #next(): Promise<Uint8Array | Ending | undefined> {
    const { patience } = this.#options;
    while (!patience.isOver && this.#reader) {
      // Any rejected read is a drop, whatever the runtime calls it.
      const read = this.#reader.read().catch((cause: unknown) => ({ cause }));
      const first = await patience.first(read);
      if (first === "over") return undefined;
      if (first === "late") this.#waiting(0, SILENT);
      if (typeof first === "object") {
        if ("done" in first && !first.done) {
          if (first.value.length > 0) return this.#count(first.value);
          continue;
        }
        const ending = "done" in first && (await this.#endingHere());
        if (ending) return ending;
        // The next connection would be as short-lived as one that brought nothing. But the gateway is there: browsers throw
        // away what they have not handed on when a connection breaks, and the next one may be read in time.
        if (!this.#hasDelivered) await patience.pause("cause" in first ? first.cause : CUT, LONGEST_PAUSE_MS);
      }
      await this.#connect();
    }
    return undefined;
  }

  #count(bytes: Uint8Array): Uint8Array {
    this.#offset += bytes.length;
    this.#hasDelivered = true;
    if (this.#isEventStream) this.#tail.push(bytes);
    this.#options.patience.succeed();
    return bytes;
  }

  /** How the answer ended, if this clean end of a connection is its end: a phone in the background gets them anywhere. */
  async #endingHere(): Promise<Ending | undefined> {
    if (!this.#isEventStream) return this.#offset >= this.#length ? { how: "done" } : undefined;
    const ending = endingInBytes(this.#tail, this.#options.family);
    if (ending) return ending;
    // A resume that brings nothing says that nothing more will come, or it is one more cut: the gateway knows.
    return this.#options.family && this.#hasDelivered ? undefined : await this.#askGateway();
  }

  async #askGateway(): Promise<Ending | undefined> {
    const { gateway, asked, patience } = this.#options;
    const rows = await patience.keepTrying((attempt) => gateway.lookup([asked.id], asked.credentials, attempt));
    const row = rows.find(({ session }) => session === asked.session);
    return row?.is_done && row.total_bytes <= this.#offset ? endingInRow(row, this.#tail) : undefined;
  }

  /** Opens the first connection, or the next. The old one is given up when the new one is there. */
  async #connect(ask = this.#read, ms?: number): Promise<Response> {
    const open: Try<[Response, AbortController]> = async (attempt, abort) => [await ask(attempt), abort];
    const { patience } = this.#options;
    const [response, abort] = await patience.keepTrying(open, ms);
    if (!response.body) throw new TypeError("This fetch does not stream; expo/fetch does");
    if (this.#reader) this.#resumes += 1;
    this.#close();
    this.#reader = response.body.getReader();
    this.#abort = abort;
    this.#hasDelivered = false;
    const { headers } = response;
    this.#isEventStream = headers.get("Content-Type")?.startsWith(EVENT_STREAM) ?? false;
    this.#length = this.#offset + Number(headers.get("Content-Length"));
    // The app may have left in the same moment.
    if (patience.isOver) this.#close();
    else this.#say({ name: "live" });
    return response;
  }

  #close(): void {
    // Both: not every runtime ends the body with the request. What either says of it is of no interest any more.
    this.#reader?.cancel().catch(() => {});
    this.#abort?.abort();
  }

  readonly #read: Ask = (attempt) => this.#options.gateway.read(this.#options.asked, this.#offset, attempt);

  /** The gateway has said that there is no more: harmless if all was there, or if the app wanted it so. */
  #endingDespite(error: unknown): Ending {
    const inBytes = endingInBytes(this.#tail, this.#options.family);
    if (inBytes) return inBytes;
    const ending = endingByRefusal(error, this.#options.asked.isStopped);
    if (ending.how === "stopped") return ending;
    throw error;
  }

  /** What is thrown here fails the app's call, or its read. */
  #fail(error: unknown): never {
    this.#over(endingByRefusal(error));
    throw error;
  }

  #over(over: Over): void {
    const { patience } = this.#options;
    if (patience.isOver) return;
    patience.end();
    this.#close();
    this.#say({ name: "ended", ...over });
  }

  readonly #waiting = (retryInMs: number, cause: unknown): void => this.#say({ name: "waiting", retryInMs, cause });

  #say(said: Said): void {
    const { asked, onState } = this.#options;
    const facts = { conversationId: asked.id, session: asked.session, offset: this.#offset, resumes: this.#resumes };
    onState({ ...facts, ...said });
  }
}
