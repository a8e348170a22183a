/**
 * Where the request of one session goes. Each call goes to the session's origin, whichever that is at the time; the record
 * says which, so that a restart finds it again. Chooses the first one, and the next where one does not take the request.
 */
import { type ApiError, modelNotFound } from "../../errors.ts";
import type { Attachment, Opening, OriginCalls, OriginSession } from "../../origin/origin.ts";
import type { Session } from "../session/session.ts";

/** What a route needs of the gateway's origins; see OriginPool. */
export interface Origins {
  get(name: string): OriginCalls | undefined;
  rank(question: { model: string | undefined; key: string; last?: string | undefined }): string[];
  readonly isKnown: boolean;
  learn(): Promise<void>;
}

export class Route implements Omit<OriginCalls, "stop"> {
  readonly #session: Session;
  readonly #origins: Origins;
  /** What the conversation's prompt cache belongs to. */
  readonly #key: string;
  /** The origin of the conversation's session before. */
  readonly #last: string | undefined;

  constructor(session: Session, origins: Origins, key: string, last: string | undefined) {
    this.#session = session;
    this.#origins = origins;
    this.#key = key;
    this.#last = last;
  }

  /** The session has an origin, and the configuration has not. */
  get isGone(): boolean {
    const { origin } = this.#session.record;
    return origin !== undefined && this.#origins.get(origin) === undefined;
  }

  /** Chooses the origin, where there is none yet; an error when no origin may be asked. */
  async choose(): Promise<ApiError | undefined> {
    if (this.#session.record.origin !== undefined) return undefined;
    if (!this.#origins.isKnown) await this.#origins.learn();
    const { model } = this.#session.record;
    const [first] = this.#ranking;
    if (first === undefined) return modelNotFound(model);
    if (this.#session.isLive) this.#session.assign(first);
    return undefined;
  }

  /** The origin to try where the session's own does not take the request. */
  get next(): string | undefined {
    const { origin, refusedBy } = this.#session.record;
    return this.#ranking.find((name) => name !== origin && !refusedBy.includes(name));
  }

  async generate(path: string, body: Uint8Array, originId: string, signal: AbortSignal): Promise<Opening> {
    return await this.#origin.generate(path, body, originId, signal);
  }

  async attach(originId: string, from: number, signal: AbortSignal): Promise<Attachment> {
    return await this.#origin.attach(originId, from, signal);
  }

  async find(originId: string): Promise<OriginSession> {
    return await this.#origin.find(originId);
  }

  get #ranking(): string[] {
    return this.#origins.rank({ model: this.#session.record.model, key: this.#key, last: this.#last });
  }

  get #origin(): OriginCalls {
    const { origin } = this.#session.record;
    const calls = origin === undefined ? undefined : this.#origins.get(origin);
    if (!calls) throw new Error(`A session asks its origin "${origin}", which is not in the configuration`);
    return calls;
  }
}
