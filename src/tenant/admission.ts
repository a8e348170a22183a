/**
 * One generating request at the door: from the question to its tenant's object to the hand-over of its slot.
 *
 *   asked ──▶ granted ──▶ handed over    to the conversation's object, which tells the tenant's itself
 *                    └──▶ answering      on the strict path: renewed while the answer runs, then given back
 */
import { type AdmitAnswer, type AdmitRequest, HOLD_RENEW_MS, type Hold, type SessionUsage } from "./messages.ts";
import { bodyRefusal, rateLimitHeaders, refused } from "./refusal.ts";

export interface AdmissionHost {
  hold(hold: Hold): Promise<void>;
  release(ticket: string): void;
}

export interface Granted {
  /** The key's name. */
  readonly key: string;
  /** Names the slot that the request holds, where slots are counted. */
  readonly ticket: string | undefined;
  /** For the answer, where it is a 200. */
  readonly limitHeaders: Readonly<Record<string, string>>;
}

export class Admission {
  readonly #request: AdmitRequest;
  readonly #answer: Promise<AdmitAnswer>;
  readonly #host: AdmissionHost;
  #renewal: ReturnType<typeof setInterval> | null = null;
  #isOver = false;
  #isAnswering = false;

  constructor(request: AdmitRequest, answer: Promise<AdmitAnswer>, host: AdmissionHost) {
    this.#request = request;
    this.#host = host;
    this.#answer = answer.then((answered) => this.#hold(answered));
    // Whoever never asks for the answer, because the body was wrong, need not hear of its failure.
    this.#answer.catch(() => {});
  }

  /** Resolves when the request may go on. Throws an ApiError when it may not, and gives the slot back. */
  async granted(bodyBytes: number, model: string | undefined): Promise<Granted> {
    const answer = await this.#answer;
    const refusal = answer.refusal ?? bodyRefusal(answer.bodyLimits, bodyBytes, model);
    if (refusal) {
      this.giveBack();
      throw refused(refusal);
    }
    const ticket = answer.countsLive ? this.#request.ticket : undefined;
    return { key: answer.key, ticket, limitHeaders: answer.requests ? rateLimitHeaders(answer.requests) : {} };
  }

  /** From here on the conversation's object holds the slot. */
  handOver(): void {
    this.#isOver = true;
    clearInterval(this.#renewal);
  }

  /** The strict answer has begun: the slot is held on. Returns what gives it back. */
  answering(): () => void {
    this.#isAnswering = true;
    return () => {
      this.#isAnswering = false;
      this.giveBack();
    };
  }

  /** The request goes no further, or its answer has ended. */
  giveBack(): void {
    if (this.#isOver || this.#isAnswering) return;
    this.handOver();
    void this.#answer.then(
      ({ countsLive, refusal }) => {
        if (countsLive && !refusal) this.#host.release(this.#request.ticket);
      },
      // It was never granted.
      () => {},
    );
  }

  /** A slow body, or a strict answer, takes longer than a slot is held for. */
  #hold(answer: AdmitAnswer): AdmitAnswer {
    if (!answer.countsLive || answer.refusal || this.#isOver) return answer;
    const { ticket, conversation } = this.#request;
    const hold: Hold = { ticket, key: answer.key, ...(conversation !== undefined && { conversation }) };
    this.#renewal = setInterval(() => {
      // The next one may be heard.
      this.#host.hold(hold).catch((error: unknown) => console.error(error));
    }, HOLD_RENEW_MS);
    return answer;
  }
}

/** What of a strict answer counts as usage. */
export interface StrictAnswer {
  readonly key: string;
  readonly model: string | undefined;
  /** The name of the origin that answered. */
  readonly origin: string | undefined;
  readonly isOk: boolean;
  readonly startedAt: number;
  readonly headAt: number;
}

/** Nobody looks at a strict answer, so its tokens are unknown. */
export function strictUsage(answer: StrictAnswer, endedAt?: number): SessionUsage {
  const { key, model, origin, isOk, startedAt, headAt } = answer;
  return {
    key,
    ...(model !== undefined && { model }),
    ...(origin !== undefined && { origin }),
    end: isOk ? "strict" : "refused",
    at: endedAt ?? headAt,
    firstByteMs: headAt - startedAt,
    ...(endedAt !== undefined && { durationMs: endedAt - startedAt }),
  };
}

/**
 * The answer, byte for byte, and a promise of its end, whichever it is. The runtime moves the bytes: no JavaScript runs
 * for them. A client that leaves cancels the origin's body, as without us.
 */
export function watched(response: Response): { response: Response; ended: Promise<void> } {
  const { body } = response;
  if (!body) return { response, ended: Promise.resolve() };
  const length = response.headers.get("Content-Length");
  const { readable, writable } =
    length === null ? new IdentityTransformStream() : new FixedLengthStream(BigInt(length));
  // A break on either side reaches the other by itself.
  const ended = body.pipeTo(writable).catch(() => {});
  return { response: new Response(readable, response), ended };
}
