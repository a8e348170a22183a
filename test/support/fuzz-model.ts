/**
 * What the fuzz knows of one conversation: which session it has, and all that a reader of it may be shown.
 *
 *   shown = (origin's bytes + pings) up to anywhere, then at most one frame of ours that says why it ended
 */
import type { OddOrigin, Script } from "./fuzz-origin.ts";
import { OUTCOMES } from "./fuzz-origin.ts";

/** One request that became a session. */
export class ModelledSession {
  readonly name: string;
  readonly script: Script;
  readonly body: string;
  readonly isStream: boolean;
  /** The longest run of its bytes from 0 on that anybody was shown. */
  seen: Buffer = Buffer.alloc(0);
  /** How it ended, once a reader was told. */
  end: string | undefined;
  /** A request that may have taken the conversation over came later. */
  mayBeReplaced = false;

  constructor(name: string, script: Script, body: string, isStream: boolean) {
    this.name = name;
    this.script = script;
    this.body = body;
    this.isStream = isStream;
  }

  /** A reader was shown `bytes` from `from` on; `isWhole`: and then a clean end. Throws what is wrong with that. */
  show(origin: OddOrigin, from: number, bytes: Buffer, isWhole: boolean): void {
    if (from <= this.seen.length) {
      const known = this.seen.subarray(from, from + bytes.length);
      if (!known.equals(bytes.subarray(0, known.length))) throw this.#wrong("other bytes at a known offset", bytes);
      if (from + bytes.length > this.seen.length) this.seen = Buffer.concat([this.seen.subarray(0, from), bytes]);
    }
    const { rest, end } = this.#compare(origin);
    if (rest !== "") throw this.#wrong("foreign bytes", bytes);
    if (isWhole && from <= this.seen.length) this.#endAs(origin, end);
  }

  #endAs(origin: OddOrigin, frame: string | undefined): void {
    const end = frame ?? "done";
    const expected = [OUTCOMES[this.script.kind], "stopped", ...(this.mayBeReplaced ? ["replaced"] : [])];
    if (!expected.includes(end)) throw this.#wrong(`it ended as ${end}`, this.seen);
    const isComplete = origin.sentFor(this.script.prompt).some((sent) => plain(sent) === plain(this.seen));
    if (end === "done" && !isComplete) throw this.#wrong("a part passed for the whole", this.seen);
    this.end ??= end;
  }

  /** What was shown beyond the origin's bytes, and the ending that it was told. */
  #compare(origin: OddOrigin): { rest: string; end: string | undefined } {
    const shown = plain(this.seen);
    const [frame = "", , type] =
      /(?:\n\n)?(?:: holdfast end=(stopped)\n\n|data: \{"error":\{"code":\d+,"message":"[^"]*","type":"(\w+)"\}\}\n\n)$/.exec(
        shown,
      ) ?? [];
    // It may have ended before the origin was asked.
    const sent = ["", ...origin.sentFor(this.script.prompt).map(plain)];
    if (sent.some((bytes) => bytes.startsWith(shown))) return { rest: "", end: undefined };
    const ours = shown.slice(0, shown.length - frame.length);
    const end = frame.includes("end=stopped") ? "stopped" : type?.replace("conversation_", "");
    const isPrefix = frame !== "" && sent.some((bytes) => bytes.startsWith(ours));
    return { rest: isPrefix ? "" : shown, end };
  }

  #wrong(what: string, bytes: Buffer): Error {
    const tail = JSON.stringify(bytes.subarray(-200).toString("latin1"));
    return new Error(`Session ${this.name} of ${JSON.stringify(this.script)}: ${what}: ${tail}`);
  }
}

export interface ConversationModel {
  current: ModelledSession | undefined;
  /** Whether a live session of it was ever replaced: a bare `from` may then be refused. */
  hasReplaced: boolean;
}

/** Without pings, ours and the origin's. One character per byte. */
function plain(bytes: Buffer): string {
  return bytes.toString("latin1").replace(/(?<=^|\n\r?\n):\n\n/g, "");
}
