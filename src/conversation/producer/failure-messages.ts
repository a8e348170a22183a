/** What readers are told of an answer that was not completed. Why it was not, phase.ts and watchdog.ts decide. */
import type { ErrorBody } from "../../errors.ts";
import type { FailureCode } from "../../protocol.ts";
import type { ProducerLimits } from "./watchdog.ts";

/**
 * `too_large`: a JSON answer over the retained size, which could not be collected whole; its readers see `too_long`.
 * `origin_gone`: the session's origin was taken out of the configuration; its readers see `origin_lost`.
 */
export type Failure = FailureCode | "too_large" | "origin_gone";

/** `gateway_failed`: something of ours failed, the log says what; the session's readers see `interrupted`. */
export type SessionFailure = Failure | "gateway_failed";

export function failureCode(failure: SessionFailure): FailureCode {
  switch (failure) {
    case "origin_gone":
      return "origin_lost";
    case "gateway_failed":
      return "interrupted";
    case "too_large":
      return "too_long";
    default:
      return failure;
  }
}

/** `origin`: its name, for `origin_gone`. */
export function failureError(failure: SessionFailure, limits: ProducerLimits, origin?: string): ErrorBody {
  const [code, message] = describe(failure, limits, origin);
  return { code, message, type: failureCode(failure) };
}

function describe(
  failure: SessionFailure,
  limits: ProducerLimits,
  origin: string | undefined,
): [code: number, message: string] {
  switch (failure) {
    case "origin_lost":
      return [502, "The connection to the origin was lost and the rest of the answer cannot be recovered"];
    case "origin_gone":
      return [502, `The origin of this answer, ${origin}, is not in the gateway's configuration any more`];
    case "origin_truncated":
      return [502, "The origin ended the answer before it was complete"];
    case "origin_timeout":
      return [504, `The origin sent nothing for ${limits.originIdleMs / 1000} s`];
    case "interrupted":
      return [503, "The gateway restarted, and the origin cannot go on with the answer"];
    case "gateway_failed":
      return [500, "The gateway failed in the middle of the answer"];
    case "too_long":
      return [504, `The answer was not complete after ${limits.maxGenerationMs / 1000} s, the most it may take`];
    case "too_large":
      return [502, `The answer is larger than ${limits.retainedBytes} bytes, the most that is kept`];
    default:
      return failure satisfies never;
  }
}
