/**
 * Reads JSON from bytes without building anything: it checks the whole document in one pass, and names the byte ranges
 * of what stands directly inside the outermost object or array.
 *
 *   {"model": "a", "messages": [{"role": "user"}]}
 *     └name─┘ └value┘ └─name──┘  └──────value──────┘
 *
 * Memory does not grow with the document: the state is one byte per level of nesting, and levels are bounded. What is
 * valid is what nlohmann::json, llama-server's parser, takes: well-formed UTF-8, no unpaired surrogate, a byte order mark
 * in front. Two things that it takes are refused here: more levels, and anything behind a NUL after the document.
 */

/** Sees each child of the outermost value. In an array there are no names: `nameStart` and `nameEnd` are then equal. */
export type VisitChild = (start: number, end: number, nameStart: number, nameEnd: number) => void;

export type JsonKind = "object" | "array" | "string" | "number" | "boolean" | "null";

/** What is not JSON, with the byte where it stops being so. */
export class JsonError extends Error {}

/** Far above any chat or JSON schema. llama-server takes more, and spends 100 bytes of memory on each byte of it. */
const MAX_DEPTH = 1_000;

const OPENING_BRACE = 0x7b;
const OPENING_BRACKET = 0x5b;
const CLOSING_BRACE = 0x7d;
const CLOSING_BRACKET = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const LOWER_U = 0x75;
const LOWER_T = 0x74;
const LOWER_F = 0x66;
const LOWER_N = 0x6e;

/** What may come next. A closing bracket is fine right after an opening one, and not after a comma. */
type Expected = "value" | "value or ]" | "name" | "name or }" | ":" | ", or closing bracket" | "nothing more";

/** What may follow a backslash, `u` aside: `"`, `\`, `/`, b, f, n, r, t. */
const SHORT_ESCAPES = new Set([0x22, 0x5c, 0x2f, 0x62, 0x66, 0x6e, 0x72, 0x74]);

export class JsonScanner {
  readonly #bytes: Uint8Array;
  readonly #visit: VisitChild;
  /** The opening brackets around `#at`, outermost first. */
  readonly #nesting = new Uint8Array(MAX_DEPTH);
  #depth = 0;
  #at: number;
  #expected: Expected = "value";
  #nameStart = 0;
  #nameEnd = 0;
  #childStart = 0;

  constructor(bytes: Uint8Array, visit: VisitChild) {
    this.#bytes = bytes;
    this.#visit = visit;
    this.#at = hasByteOrderMark(bytes) ? 3 : 0;
  }

  /** Reads on until byte `until`, and to the end of the token there. Throws JsonError. */
  advance(until: number): void {
    const end = Math.min(until, this.#bytes.length);
    while (this.#at < end) {
      const byte = this.#bytes[this.#at] ?? 0;
      if (isBlank(byte)) this.#at += 1;
      else this.#readToken(byte);
    }
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** To be called at the end of the bytes: throws JsonError when the document needs more. */
  finish(): void {
    if (this.#expected !== "nothing more") throw this.#unexpected();
  }

  #readToken(byte: number): void {
    if (byte === OPENING_BRACE || byte === OPENING_BRACKET) this.#open(byte);
    else if (byte === CLOSING_BRACE || byte === CLOSING_BRACKET) this.#close(byte);
    else if (byte === COMMA) this.#separate();
    else if (byte === COLON) this.#expect(":", "value");
    else if (byte === QUOTE && (this.#expected === "name" || this.#expected === "name or }")) this.#readName();
    else this.#readScalar(byte);
  }

  #open(bracket: number): void {
    this.#beginValue();
    if (this.#depth === MAX_DEPTH) {
      throw new JsonError(`more than ${MAX_DEPTH} levels of nesting at byte ${this.#at}`);
    }
    this.#nesting[this.#depth] = bracket;
    this.#depth += 1;
    this.#at += 1;
    this.#expected = bracket === OPENING_BRACE ? "name or }" : "value or ]";
  }

  #close(bracket: number): void {
    // An opening bracket and its closing one are two apart in ASCII.
    const matches = this.#depth > 0 && this.#nesting[this.#depth - 1] === bracket - 2;
    const isEmpty = this.#expected === "value or ]" || this.#expected === "name or }";
    if (!matches || !(isEmpty || this.#expected === ", or closing bracket")) throw this.#unexpected();
    this.#depth -= 1;
    this.#at += 1;
    this.#endValue();
  }

  #separate(): void {
    const inObject = this.#nesting[this.#depth - 1] === OPENING_BRACE;
    this.#expect(", or closing bracket", inObject ? "name" : "value");
  }

  #expect(expected: Expected, next: Expected): void {
    if (this.#expected !== expected) throw this.#unexpected();
    this.#at += 1;
    this.#expected = next;
  }

  #readName(): void {
    const end = endOfString(this.#bytes, this.#at);
    if (this.#depth === 1) {
      this.#nameStart = this.#at;
      this.#nameEnd = end;
    }
    this.#at = end;
    this.#expected = ":";
  }

  #readScalar(byte: number): void {
    this.#beginValue();
    if (byte === QUOTE) this.#at = endOfString(this.#bytes, this.#at);
    else if (byte === LOWER_T) this.#at = endOfLiteral(this.#bytes, this.#at, "true");
    else if (byte === LOWER_F) this.#at = endOfLiteral(this.#bytes, this.#at, "false");
    else if (byte === LOWER_N) this.#at = endOfLiteral(this.#bytes, this.#at, "null");
    else this.#at = endOfNumber(this.#bytes, this.#at);
    this.#endValue();
  }

  #beginValue(): void {
    if (this.#expected !== "value" && this.#expected !== "value or ]") throw this.#unexpected();
    if (this.#depth === 1) this.#childStart = this.#at;
  }

  #endValue(): void {
    if (this.#depth === 1) this.#visit(this.#childStart, this.#at, this.#nameStart, this.#nameEnd);
    this.#expected = this.#depth === 0 ? "nothing more" : ", or closing bracket";
  }

  #unexpected(): JsonError {
    return new JsonError(`expected ${this.#expected} at byte ${this.#at}, got ${found(this.#bytes, this.#at)}`);
  }
}

/** What kind of value begins with this byte of a document that has been scanned. */
export function kindOf(firstByte: number | undefined): JsonKind {
  if (firstByte === OPENING_BRACE) return "object";
  if (firstByte === OPENING_BRACKET) return "array";
  if (firstByte === QUOTE) return "string";
  if (firstByte === LOWER_N) return "null";
  return firstByte === LOWER_T || firstByte === LOWER_F ? "boolean" : "number";
}

export function firstByteOf(bytes: Uint8Array): number | undefined {
  let at = hasByteOrderMark(bytes) ? 3 : 0;
  while (isBlank(bytes[at] ?? 0)) at += 1;
  return bytes[at];
}

function hasByteOrderMark(bytes: Uint8Array): boolean {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
}

function isBlank(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** The byte behind the string whose quote is at `at`. */
function endOfString(bytes: Uint8Array, at: number): number {
  for (let i = at + 1; ; ) {
    const byte = bytes[i] ?? 0;
    if (byte === QUOTE) return i + 1;
    if (byte === BACKSLASH) i = endOfEscape(bytes, i);
    else if (byte >= 0x80) i = endOfCharacter(bytes, i);
    else if (byte >= 0x20) i += 1;
    else throw new JsonError(`${found(bytes, i)} inside a string at byte ${i}`);
  }
}

function endOfEscape(bytes: Uint8Array, at: number): number {
  if (SHORT_ESCAPES.has(bytes[at + 1] ?? 0)) return at + 2;
  const unit = escapedUnit(bytes, at);
  const isHigh = unit >= 0xd800 && unit <= 0xdbff;
  const next = isHigh ? escapedUnit(bytes, at + 6) : 0;
  const isPaired = next >= 0xdc00 && next <= 0xdfff;
  if (unit < 0 || (isHigh && !isPaired) || (unit >= 0xdc00 && unit <= 0xdfff)) {
    throw new JsonError(`invalid escape at byte ${at}`);
  }
  return at + (isHigh ? 12 : 6);
}

/** The UTF-16 unit of the `\uXXXX` at `at`, or -1. */
function escapedUnit(bytes: Uint8Array, at: number): number {
  if (bytes[at] !== BACKSLASH || bytes[at + 1] !== LOWER_U) return -1;
  let unit = 0;
  for (let i = at + 2; i < at + 6; i++) {
    const digit = hexDigit(bytes[i] ?? 0);
    if (digit < 0) return -1;
    unit = unit * 16 + digit;
  }
  return unit;
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** The byte behind the UTF-8 character of two to four bytes at `at`: no overlong form, no surrogate, none over U+10FFFF. */
function endOfCharacter(bytes: Uint8Array, at: number): number {
  const lead = bytes[at] ?? 0;
  const second = bytes[at + 1] ?? 0;
  const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  let isValid = lead >= 0xc2 && lead <= 0xf4 && second >= least && second <= most;
  for (let i = at + 2; i < at + length; i++) isValid &&= ((bytes[i] ?? 0) & 0xc0) === 0x80;
  if (!isValid) throw new JsonError(`not UTF-8 at byte ${at}`);
  return at + length;
}

function endOfLiteral(bytes: Uint8Array, at: number, literal: string): number {
  for (let i = 0; i < literal.length; i++) {
    if (bytes[at + i] !== literal.charCodeAt(i)) throw new JsonError(`expected ${literal} at byte ${at}`);
  }
  return at + literal.length;
}

/** `-0`, `12`, `1.5`, `1e+9`: no leading zero, and a digit on either side of the point. */
function endOfNumber(bytes: Uint8Array, at: number): number {
  let i = bytes[at] === 0x2d ? at + 1 : at;
  i = bytes[i] === 0x30 ? i + 1 : endOfDigits(bytes, i, at);
  if (bytes[i] === 0x2e) i = endOfDigits(bytes, i + 1, at);
  if (((bytes[i] ?? 0) | 0x20) !== 0x65) return i;
  const hasSign = bytes[i + 1] === 0x2b || bytes[i + 1] === 0x2d;
  return endOfDigits(bytes, hasSign ? i + 2 : i + 1, at);
}

/** The byte behind the digits from `at` on, one at least. */
function endOfDigits(bytes: Uint8Array, at: number, numberStart: number): number {
  let i = at;
  for (let byte = bytes[i] ?? 0; byte >= 0x30 && byte <= 0x39; byte = bytes[i] ?? 0) i += 1;
  if (i === at) throw new JsonError(`expected a value at byte ${numberStart}, got ${found(bytes, i)}`);
  return i;
}

function found(bytes: Uint8Array, at: number): string {
  const byte = bytes[at];
  if (byte === undefined) return "the end";
  return byte > 0x20 && byte < 0x7f ? `'${String.fromCharCode(byte)}'` : `byte 0x${byte.toString(16).padStart(2, "0")}`;
}
