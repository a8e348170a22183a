/**
 * Server-sent events as bytes: where events end, and the frames that the gateway adds. Nothing here parses an event on
 * the way through; only the last one is looked at, once, when the origin has ended (families.ts).
 */
/** What llama-server sends when a stream is silent: a comment, 3 bytes. */
export const PING = new TextEncoder().encode(":\n\n");

const LF = 10;
const CR = 13;
const COLON = 58;

/**
 * The end of the last whole event in `bytes[0..end)`, that is the offset behind its blank line, or -1. Only blank lines
 * that end at or after `least` are looked for, so that a long event arriving in small pieces is searched once.
 * Lines end with LF (llama-server) or CR LF (other servers).
 */
export function lastEventEnd(bytes: Uint8Array, end: number, least = 0): number {
  // A view: in `bytes`, lastIndexOf() would go on below `least`, through all that is held of a long line.
  const unsearched = bytes.subarray(least, end);
  for (let at = unsearched.lastIndexOf(LF); at >= 0; at = at > 0 ? unsearched.lastIndexOf(LF, at - 1) : -1) {
    const before = bytes[least + at - 1];
    if (before === LF || (before === CR && bytes[least + at - 2] === LF)) return least + at + 1;
  }
  return -1;
}

/**
 * Where the last event that is not a comment (or a further blank line) starts in a run of whole events, or -1.
 */
export function lastEventStart(events: Uint8Array): number {
  let end = events.length;
  while (end > 0) {
    const start = Math.max(0, lastEventEnd(events, end - 1));
    const first = events[start];
    if (first !== COLON && first !== LF && first !== CR) return start;
    end = start;
  }
  return -1;
}

/** A buffer for unfinished events that is larger than this is not kept. */
const KEPT_BUFFER_BYTES = 65_536;

/**
 * Splits the origin's bytes into whole events and an unfinished tail, which is held back so that a frame of the
 * gateway never lands inside an event and a lost origin never leaves half a JSON line.
 *
 *     released to the log        held back
 *   ───────────────────────────┃──────────▶ origin bytes
 *                     last blank line
 *
 * An event longer than `heldBytes` is released as it comes; `atBoundary` is false until it ends.
 */
export class EventSplitter {
  readonly #maxHeldBytes: number;
  readonly #release: (bytes: Uint8Array, startsEvent: boolean) => void;
  #held = new Uint8Array(0);
  #heldLength = 0;
  #atBoundary: boolean;

  /**
   * `atBoundary`: whether what was released before ends with a whole event. `release` gets views that are only valid
   * during the call, and whether they start with the start of an event.
   */
  constructor(maxHeldBytes: number, atBoundary: boolean, release: (bytes: Uint8Array, startsEvent: boolean) => void) {
    this.#maxHeldBytes = maxHeldBytes;
    this.#atBoundary = atBoundary;
    this.#release = release;
  }

  /** Whether everything released so far ends with a whole event. */
  get atBoundary(): boolean {
    return this.#atBoundary;
  }

  /** The unfinished tail: taken, not released. Valid until the next call. */
  get held(): Uint8Array {
    return this.#held.subarray(0, this.#heldLength);
  }

  push(chunk: Uint8Array): void {
    const searched = this.#heldLength;
    const bytes = searched === 0 ? chunk : this.#hold(chunk);
    const end = Math.max(0, lastEventEnd(bytes, bytes.length, searched));
    // What goes on stays where it is: an event that is moved for each of its pieces takes the square of its length.
    if (searched > 0 && end === 0 && bytes.length <= this.#maxHeldBytes) return;
    this.#heldLength = 0;
    this.#split(bytes, end);
  }

  /** Releases the unfinished tail as it is: the origin ended its last event without a blank line. */
  flush(): void {
    const rest = this.held;
    this.#heldLength = 0;
    this.#emit(rest, false);
  }

  /** Forgets the unfinished tail: the origin will send it again, or never. */
  discard(): void {
    this.#heldLength = 0;
  }

  /** `end`: of the last whole event in `bytes`; 0 if none ends there. */
  #split(bytes: Uint8Array, end: number): void {
    this.#emit(bytes.subarray(0, end), true);
    const rest = bytes.subarray(end);
    if (rest.length > this.#maxHeldBytes) {
      // Line ends stay behind: the next byte may make a blank line of them.
      const cut = rest.findLastIndex((byte) => byte !== LF && byte !== CR) + 1;
      this.#emit(rest.subarray(0, cut), false);
      this.#hold(rest.subarray(cut));
    } else if (rest.length > 0) {
      this.#hold(rest);
    }
  }

  #emit(bytes: Uint8Array, endsEvent: boolean): void {
    if (bytes.length === 0) return;
    const startsEvent = this.#atBoundary;
    this.#atBoundary = endsEvent;
    this.#release(bytes, startsEvent);
  }

  #hold(bytes: Uint8Array): Uint8Array {
    const length = this.#heldLength + bytes.length;
    // A buffer that grew for one long event is given back.
    if (this.#heldLength === 0 && this.#held.length > KEPT_BUFFER_BYTES) this.#held = new Uint8Array(0);
    if (length > this.#held.length) {
      const grown = new Uint8Array(Math.max(1_024, 2 * length));
      grown.set(this.#held.subarray(0, this.#heldLength));
      this.#held = grown;
    }
    // `bytes` may be a view of #held itself (its unreleased end): copyWithin semantics of set() make that safe.
    this.#held.set(bytes, this.#heldLength);
    this.#heldLength = length;
    return this.#held.subarray(0, length);
  }
}
