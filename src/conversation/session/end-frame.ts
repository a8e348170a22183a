/** The last thing that readers see of a session that the origin did not complete. */
import type { ErrorBody } from "../../errors.ts";
import { ERROR_EVENTS, type RouteFamily } from "../../families.ts";
import { STOPPED_COMMENT } from "../../protocol.ts";

const STOPPED_FRAME = new TextEncoder().encode(`: ${STOPPED_COMMENT}\n\n`);

export function endFrame(family: RouteFamily, ending: ErrorBody | "stopped", isAtBoundary: boolean): Uint8Array {
  if (ending === "stopped") return STOPPED_FRAME;
  // Inside an event that was too long to hold back, a blank line first, or the frame would be taken for a part of it.
  const separator = isAtBoundary ? "" : "\n\n";
  return new TextEncoder().encode(separator + ERROR_EVENTS[family](ending));
}
