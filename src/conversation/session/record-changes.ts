/** How a session's record changes when its request is sent again. Pure. */
import type { OriginRequest, SessionRecord } from "./session-record.ts";

/** All requests that were sent for the session, the current one last: an origin may have any of them. */
export function sentRequests({ origin, originId, abandoned }: SessionRecord): readonly OriginRequest[] {
  return origin === undefined ? abandoned : [...abandoned, { origin, originId }];
}

/** To the same origin, under another private name. `hasBroken`: see SessionRecord.brokenRequests. */
export function resent(record: SessionRecord, originId: string, hasBroken: boolean): Partial<SessionRecord> {
  return {
    originId,
    abandoned: sentRequests(record),
    brokenRequests: record.brokenRequests + Number(hasBroken),
  };
}

/** To another origin. `isSure`: the one before does not have the request. */
export function moved(
  record: SessionRecord,
  origin: string,
  originId: string,
  isSure: boolean,
): Partial<SessionRecord> {
  return {
    origin,
    originId,
    refusedBy: record.origin === undefined ? record.refusedBy : [...record.refusedBy, record.origin],
    abandoned: isSure ? record.abandoned : sentRequests(record),
    brokenRequests: record.brokenRequests + Number(!isSure),
  };
}
