/** What became of an answer, told to a person in the words of docs/guarantees.md. */
import type { HoldfastErrorCode } from "../src/client/index.ts";

const LOSSES: Readonly<Record<HoldfastErrorCode, string>> = {
  origin_lost: "The server could not be reached for too long, or has lost this answer. What had come is here.",
  origin_truncated: "The server ended this answer before it was complete. What had come is here.",
  origin_timeout: "The server was connected and said nothing for too long. What had come is here.",
  interrupted: "The gateway restarted, and the server cannot go on with this answer. What had been stored is here.",
  too_long: "This answer took longer than the gateway allows. What had come is here.",
  origin_error: "The server ended this answer with an error",
  conversation_replaced: "A newer question took the conversation over, so this answer ended here.",
  conversation_stopped: "This answer was stopped before there was anything to read.",
  offset_lost: "The rest of this answer is lost: the gateway keeps it no longer.",
  gone: "The gateway has nothing of this answer any more: it was stopped elsewhere, or its time to be collected is over.",
  unauthorised: "The gateway does not know this key any more. Sign in again.",
  too_many: "A limit of your key is reached",
  unreachable: "The gateway could not be reached. The answer may be going on there.",
  refused: "The request was refused",
};

/** These end with what the gateway or the server said itself. */
const WITH_MESSAGE = new Set<HoldfastErrorCode>(["origin_error", "refused", "too_many"]);

const UNKNOWN_LOSS = "This answer ended before it was complete. What had come is here.";

export function lossText(code: HoldfastErrorCode | undefined, message: string): string {
  if (code === undefined) return UNKNOWN_LOSS;
  return WITH_MESSAGE.has(code) ? `${LOSSES[code]}: ${message}` : LOSSES[code];
}

/** Why an answer has to wait, when it will be tried again: no network, or a refusal that passes. */
export function troubleText(cause: unknown): string {
  if (cause instanceof Error && "refusal" in cause) return `${cause.message}. Trying again …`;
  return "No connection. The answer goes on at the gateway; this page keeps trying.";
}

/** Worth asking the gateway again for the same answer. */
export function mayStillCome(code: HoldfastErrorCode): boolean {
  return code === "unreachable" || code === "unauthorised" || code === "too_many";
}
