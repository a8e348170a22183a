/** The errors of this package. Each is final: whatever time or another connection could repair was tried first. */
import type { FailureCode } from "../protocol.ts";

/** Why an answer cannot be had, or not to its end. */
export type HoldfastErrorCode =
  /** The gateway gave the answer up, and says why: `origin_lost`, `origin_truncated`, … */
  | FailureCode
  /** The origin (llama-server) ended the answer with an error of its own. */
  | "origin_error"
  /** A newer request took the conversation over: its bytes are another answer. */
  | "conversation_replaced"
  /** The answer was stopped before there was anything to read. */
  | "conversation_stopped"
  /** The next byte is kept no longer: read from the beginning. */
  | "offset_lost"
  /** No such session: never started, expired, or stopped by another device. */
  | "gone"
  | "unauthorised"
  /** A limit of the key; `retryAfterMs` says when it is worth another try. */
  | "too_many"
  /** No usable answer of the gateway in all the time that there was; `cause` is the last failure. */
  | "unreachable"
  /** The gateway refused the request for another reason: see `status` and `message`. */
  | "refused";

export interface HoldfastErrorDetails {
  /** The answer that said so. */
  response?: Response;
  cause?: unknown;
}

export class HoldfastError extends Error {
  override readonly name = "HoldfastError";
  readonly code: HoldfastErrorCode;
  /** The answer that said so, where there was one; its body can be read. */
  readonly response: Response | undefined;

  constructor(code: HoldfastErrorCode, message: string, details: HoldfastErrorDetails = {}) {
    super(message, details);
    this.code = code;
    this.response = details.response;
  }

  get status(): number | undefined {
    return this.response?.status;
  }

  /** From the answer's `Retry-After`, in whole seconds as the gateway writes it. */
  get retryAfterMs(): number | undefined {
    return 1_000 * Number(this.response?.headers.get("Retry-After")) || undefined;
  }
}
