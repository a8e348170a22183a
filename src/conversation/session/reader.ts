/**
 * One client being fed from an offset. It pulls: when the client takes no bytes nothing is asked of the session, so a
 * stalled client costs neither memory nor anybody's time. Its offset is all the state there is.
 */
import { OffsetLostError, PIECE_BYTES } from "../log/replay-log.ts";
import { isolatePieces } from "./large-pieces.ts";
import type { Session } from "./session.ts";

/**
 * The session's bytes from `from` on, then its live bytes, then a clean end when it has ended. Errors (the connection is
 * cut, not ended) when the reader lags so far that its next byte was dropped.
 */
export function readFrom(session: Session, from: number): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(new Reader(session, from), { highWaterMark: 0 });
}

/** Written without async functions: a promise of our own per event is a tenth of what an event costs. */
class Reader {
  readonly #session: Session;
  readonly #from: number;
  #offset: number;
  /** It took a large piece, which the client has not taken yet. */
  #hasLarge = false;
  /** Leaves the audience; `undefined` once it has left. */
  #leaveAudience: (() => void) | undefined;
  /** Ends the pull that waits for the session to change. */
  #endPull: (() => void) | undefined;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;

  constructor(session: Session, from: number) {
    this.#session = session;
    this.#from = from;
    this.#offset = from;
    this.#leaveAudience = session.audience.join();
  }

  pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> | undefined {
    if (this.#hasLarge) this.#giveBack();
    if (this.#serve(controller)) return undefined;
    this.#controller = controller;
    return new Promise((resolve) => {
      this.#endPull = resolve;
      this.#session.audience.onChange(this.#wake);
    });
  }

  cancel(): void {
    this.#leave();
    this.#endPull?.();
  }

  readonly #wake = (): void => {
    if (!this.#endPull || !this.#controller) return;
    if (this.#serve(this.#controller)) {
      const endPull = this.#endPull;
      this.#endPull = undefined;
      endPull();
    } else {
      this.#session.audience.onChange(this.#wake);
    }
  };

  /**
   * Hands over what there is, or the end. Returns whether there was something to hand over. Never throws. Only called
   * within a pull: else the first of several pieces could bring on the next pull before the last was handed over.
   */
  #serve(controller: ReadableStreamDefaultController<Uint8Array>): boolean {
    if (!this.#leaveAudience) return true;
    try {
      if (this.#from < this.#session.bodyStart) throw new OffsetLostError("The origin answered with no event stream");
      if (this.#session.hasLost(this.#from)) throw new OffsetLostError(`The answer broke off before ${this.#from}`);
      const pieces = this.#read();
      for (const bytes of pieces) {
        this.#offset += bytes.length;
        controller.enqueue(bytes);
      }
      if (pieces.length > 0) return true;
      if (!this.#session.isDrained) return false;
      controller.close();
    } catch (error) {
      // A reader of bytes that are gone is cut off: a clean end would pass for the end of the answer.
      if (!(error instanceof OffsetLostError)) console.error(error);
      controller.error(error);
    }
    this.#leave();
    return true;
  }

  #read(): Uint8Array[] {
    const { log } = this.#session;
    const isLarge = log.visibleEnd - this.#offset > PIECE_BYTES;
    this.#hasLarge = isLarge;
    return log.read(this.#offset, isLarge ? isolatePieces.take(this) : PIECE_BYTES);
  }

  #giveBack(): void {
    isolatePieces.giveBack(this);
    this.#hasLarge = false;
  }

  #leave(): void {
    this.#giveBack();
    this.#leaveAudience?.();
    this.#leaveAudience = undefined;
  }
}
