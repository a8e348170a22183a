/** Why an answer was not completed, and what its readers are told. */
import type { ErrorBody } from "../../errors.ts";
import type { FailureCode } from "../../protocol.ts";
import type { ProducerLimits } from "./watchdog.ts";

/** `too_large`: a JSON answer over the retained size, which could not be collected whole; its readers see `too_long`. */
export type Failure = FailureCode | "too_large";

export function failureCode(failure: Failure): FailureCode {
  return failure === "too_large" ? "too_long" : failure;
}

export function failureError(failure: Failure, limits: ProducerLimits): ErrorBody {
  const [code, message] = describe(failure, limits);
  return { code, message, type: failureCode(failure) };
}

function describe(failure: Failure, limits: ProducerLimits): [code: number, message: string] {
  switch (failure) {
    case "origin_lost":
      return [502, "The connection to the origin was lost and the rest of the answer cannot be recovered"];
    case "origin_truncated":
      return [502, "The origin ended the answer before it was complete"];
    case "origin_timeout":
      return [504, `The origin sent nothing for ${limits.originIdleMs / 1000} s`];
    case "interrupted":
      return [503, "The gateway restarted, and the origin cannot go on with the answer"];
    case "too_long":
      return [504, `The answer was not complete after ${limits.maxGenerationMs / 1000} s, the most it may take`];
    case "too_large":
      return [502, `The answer is larger than ${limits.retainedBytes} bytes, the most that is kept`];
    default:
      return failure satisfies never;
  }
}
