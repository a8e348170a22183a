/** How an answer ended, read from what was seen last: its bytes, the gateway's row, or the refusal of a resume. */
import type { RouteFamily } from "../families.ts";
import type { LookupRow } from "../protocol.ts";
import type { EventTail } from "./event-tail.ts";
import { isGatewaysOwn } from "./gateway.ts";
import { HoldfastError } from "./holdfast-error.ts";
import type { AnswerEnd } from "./options.ts";

/** `error` says why, for `replaced` and `failed`. */
export interface Ending {
  how: Exclude<AnswerEnd, "detached">;
  error?: HoldfastError;
}

/** By its bytes: the family's last event, the origin's or the gateway's error event, or the gateway's word of a stop. */
export function endingInBytes(tail: EventTail, family: RouteFamily | undefined): Ending | undefined {
  if (tail.isStopped) return { how: "stopped" };
  return family && tail.isFinal(family) ? (endingByError(tail) ?? { how: "done" }) : undefined;
}

/** By the gateway's row, of a session all of whose bytes were read. */
export function endingInRow({ end }: LookupRow, tail: EventTail): Ending {
  return endingByError(tail) ?? { how: end === "done" || end === "replaced" ? end : "failed" };
}

/** By an answer that says that there is nothing more to be had. */
export function endingByRefusal(error: unknown, isStopped?: boolean): Ending {
  if (!(error instanceof HoldfastError)) return { how: "failed" };
  if (error.code === "conversation_stopped" || (isStopped && error.code === "gone")) return { how: "stopped" };
  return endingWith(error);
}

function endingByError(tail: EventTail): Ending | undefined {
  const said = tail.error;
  return said && endingWith(new HoldfastError(isGatewaysOwn(said.type) ? said.type : "origin_error", said.message));
}

function endingWith(error: HoldfastError): Ending {
  return { how: error.code === "conversation_replaced" ? "replaced" : "failed", error };
}
