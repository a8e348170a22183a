/**
 * What a demo origin needs to go on after a restart. The bytes of an answer follow from the request, from a number drawn
 * at its start and from the time that has passed since: so a file of these few facts brings every answer back, as far as
 * it had come and on from there.
 *
 *     generation begins ──▶ remember ──▶ { port, answers: [key, route, request, slot, salt, startedAt] }
 *     stopped, replaced, expired ──▶ forget
 *
 * Not kept, so lost as at a llama-server that dies: requests that wait for a slot, `stream: false` answers, and answers
 * with pings in them, which come when it is silent and not when the request says so.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import type { Identity } from "./dialects.ts";
import type { GenerationRequest } from "./request.ts";

/** An answer that was begun. */
export interface BegunAnswer {
  /** The conversation's key: see names.ts. */
  readonly key: string;
  /** The route that it was asked on. */
  readonly path: string;
  readonly request: GenerationRequest;
  readonly slotId: number;
  readonly identity: Identity;
}

/** Files of another version are not read: a demo's past is cheap to lose. */
const FORMAT = 1;

interface Kept {
  readonly format: typeof FORMAT;
  port: number | undefined;
  answers: BegunAnswer[];
}

/** The oldest are left out: the file is written anew at each change. */
const MAX_ANSWERS = 100;

export class Journal {
  readonly #file: string;
  readonly #kept: Kept;

  constructor(file: string) {
    this.#file = file;
    this.#kept = read(file);
  }

  /** Where the origin listened before. */
  get port(): number | undefined {
    return this.#kept.port;
  }

  get answers(): readonly BegunAnswer[] {
    return [...this.#kept.answers];
  }

  listensOn(port: number): void {
    this.#kept.port = port;
    this.#write();
  }

  remember(answer: BegunAnswer): void {
    const { firstTokenMs, paceMs, pingIntervalMs, ending } = answer.request;
    const isSilent = Math.max(firstTokenMs, paceMs) >= pingIntervalMs || ending === "hang";
    if (isSilent && pingIntervalMs > 0) return;
    const others = this.#kept.answers.filter(({ key }) => key !== answer.key);
    this.#kept.answers = [...others, answer].slice(-MAX_ANSWERS);
    this.#write();
  }

  forget(key: string): void {
    if (!this.#kept.answers.some((answer) => answer.key === key)) return;
    this.#kept.answers = this.#kept.answers.filter((answer) => answer.key !== key);
    this.#write();
  }

  /** In one step: a kill leaves the old file or the new one. */
  #write(): void {
    const unfinished = `${this.#file}.new`;
    writeFileSync(unfinished, JSON.stringify(this.#kept), { mode: 0o600 });
    renameSync(unfinished, this.#file);
  }
}

function read(file: string): Kept {
  try {
    const { format, port, answers } = JSON.parse(readFileSync(file, "utf8"));
    if (format === FORMAT) return { format, port, answers };
  } catch {
    // Not JSON: a demo starts without its past rather than not at all.
  }
  return { format: FORMAT, port: undefined, answers: [] };
}
