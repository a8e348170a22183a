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
import { Connection, type Piece } from "./connection.ts";
import { type Ending, endingByRefusal, endingInBytes, endingInRow } from "./ending.ts";
import { EventTail } from "./event-tail.ts";
import type { Gateway } from "./gateway.ts";
import { HoldfastError } from "./holdfast-error.ts";
import type { AnswerEnd, AnswerState } from "./options.ts";
import type { Patience, Success } from "./patience.ts";

export interface ResumedBodyOptions {
  gateway: Gateway;
  asked: Asked;
  patience: Patience;
  stallMs: number;
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
  #connection: Connection | undefined;
  #offset: number;
  #resumes = 0;
  #isEventStream = true;
  /** Of a JSON answer: the offset of its end, where the headers tell it. */
  #length = 0;
  #hasEnded = false;

  constructor(options: ResumedBodyOptions) {
    this.#options = options;
    this.#offset = options.from;
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
  async open(signal: AbortSignal | undefined, ask?: Ask, ms?: number): Promise<Response> {
    this.#options.patience.heed(signal, () => this.#detach(signal?.reason));
    try {
      const opened = await this.#get(ask, ms);
      if (!opened) throw signal?.reason;
      this.#connect(opened);
      return opened.value;
    } catch (error) {
      this.#over(error instanceof HoldfastError ? endingByRefusal(error) : { how: "failed" });
      throw error;
    }
  }

  /** The app leaves: its own read fails with `reason`, the session goes on. */
  #detach(reason: unknown): void {
    this.#controller?.error(reason);
    this.#over({ how: "detached" });
  }

  async #pull(): Promise<void> {
    try {
      const next = await this.#next();
      if (this.#hasEnded || next === undefined) return;
      if (next instanceof Uint8Array) {
        this.#controller?.enqueue(next);
      } else {
        this.#controller?.close();
        this.#over(next);
      }
    } catch (error) {
      if (!this.#hasEnded) this.#refused(error);
    }
  }

  /** The next bytes, or how it ended; `undefined` when the app has left. */
  async #next(): Promise<Uint8Array | Ending | undefined> {
    while (!this.#hasEnded && this.#connection) {
      const connection = this.#connection;
      const first = await this.#options.patience.first(connection.read(), this.#options.stallMs);
      if (first === "over") return undefined;
      if (first === "late") this.#waiting(0, SILENT);
      if (first === "late" || first === "woken") {
        await this.#replace(connection);
        continue;
      }
      connection.take(first.value);
      if ("bytes" in first.value) {
        if (first.value.bytes.length > 0) return this.#count(first.value.bytes);
        continue;
      }
      const ending = await this.#endingAfter(first.value, connection);
      if (ending) return ending;
      await this.#pauseAfter(first.value, connection);
      await this.#replace(connection);
    }
    return undefined;
  }

  #count(bytes: Uint8Array): Uint8Array {
    this.#offset += bytes.length;
    if (this.#isEventStream) this.#tail.push(bytes);
    this.#options.patience.succeed();
    return bytes;
  }

  /** How the answer ended, if this end of a connection is its end: a phone in the background gets clean ends anywhere. */
  async #endingAfter(piece: Piece, connection: Connection): Promise<Ending | undefined> {
    if (!("end" in piece) || piece.end !== "clean") return undefined;
    if (!this.#isEventStream) return this.#offset >= this.#length ? { how: "done" } : undefined;
    const ending = endingInBytes(this.#tail, this.#options.family);
    if (ending) return ending;
    // A resume that brings nothing says that nothing more will come, or it is one more cut: the gateway knows.
    return this.#options.family !== undefined && connection.received > 0 ? undefined : await this.#askGateway();
  }

  async #askGateway(): Promise<Ending | undefined> {
    const { gateway, asked, patience, stallMs } = this.#options;
    try {
      const ask = (signal: AbortSignal) => gateway.lookup([asked.id], asked.credentials, signal);
      const answer = await patience.attempt(ask, stallMs);
      if (typeof answer === "string") return undefined;
      const row = answer.value.find(({ session }) => session === asked.session);
      return row?.is_done && row.total_bytes <= this.#offset ? endingInRow(row, this.#tail) : undefined;
    } catch (error) {
      if (error instanceof HoldfastError) throw error;
      // Out of reach: the resume that follows finds out when it is there again.
      return undefined;
    }
  }

  /**
   * The next connection would be as short-lived as one that brought nothing. But the gateway is there: browsers throw away
   * what they have not handed on when a connection breaks, and the next one may be read in time.
   */
  async #pauseAfter(piece: Piece, connection: Connection): Promise<void> {
    if (connection.received > 0) return;
    const cause = "cause" in piece ? piece.cause : CUT;
    await this.#options.patience.pause(cause, this.#waiting, LONGEST_PAUSE_MS);
  }

  /** The old connection is given up when the new one is there: a device that woke may find it alive. */
  async #replace(old: Connection): Promise<void> {
    const opened = await this.#get();
    old.close();
    if (!opened) return;
    this.#resumes += 1;
    this.#connect(opened);
  }

  #get(ask: Ask = (attempt) => this.#read(attempt), ms = this.#options.stallMs) {
    return this.#options.patience.keepTrying(ask, ms, this.#waiting);
  }

  async #read(attempt: AbortSignal): Promise<Response> {
    const { gateway, asked } = this.#options;
    const { response, session } = await gateway.read(asked, this.#offset, attempt);
    asked.session = session;
    return response;
  }

  #connect({ value: response, abort }: Success<Response>): void {
    this.#isEventStream = response.headers.get("Content-Type")?.startsWith(EVENT_STREAM) ?? false;
    this.#length = this.#offset + Number(response.headers.get("Content-Length") ?? 0);
    this.#connection = new Connection(response, abort);
    this.#say({ name: "live" });
  }

  /** The gateway has said that there is no more: harmless if all was there, or if the app wanted it so. */
  #refused(error: unknown): void {
    if (!(error instanceof HoldfastError)) {
      this.#controller?.error(error);
      this.#over({ how: "failed" });
      return;
    }
    const ending =
      endingInBytes(this.#tail, this.#options.family) ?? endingByRefusal(error, this.#options.asked.isStopped);
    if (ending.error === error) this.#controller?.error(error);
    else this.#controller?.close();
    this.#over(ending);
  }

  #over(over: Over): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#options.patience.end();
    this.#connection?.close();
    this.#say({ name: "ended", ...over });
  }

  readonly #waiting = (retryInMs: number, cause: unknown): void => this.#say({ name: "waiting", retryInMs, cause });

  #say(said: Said): void {
    const { asked, onState } = this.#options;
    const facts = { conversationId: asked.id, session: asked.session, offset: this.#offset, resumes: this.#resumes };
    onState({ ...facts, ...said });
  }
}
