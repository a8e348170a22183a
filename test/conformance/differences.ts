/**
 * Where Holdfast differs from llama-server on purpose. A rule that meets one asserts both sides with `onEach`: what
 * llama-server does on llama-server, and what we do on ours. Everything that is not in this table must be the same.
 */
import type { Target } from "./target.ts";

interface Difference {
  /** What llama-server does. */
  contract: string;
  /** What Holdfast does. */
  holdfast: string;
  why: string;
  /** Where the demo origin sides with Holdfast. */
  demoOriginIsBetter?: true;
}

export const DIFFERENCES = {
  "both-url-forms": {
    contract: "Only /v1/stream?conv_id=<id>; the path form is 404 since 0.7.0",
    holdfast: "/v1/stream/<id> too",
    why: "Clients of both generations of llama.cpp's API can be served by one gateway",
  },
  "end-of-a-stopped-stream": {
    contract: "The live bodies just end",
    holdfast: "Their last line is the comment `: holdfast end=stopped`",
    why: "Nothing else on the wire tells a stop from a lost connection or a finished answer",
  },
  "end-of-a-replaced-stream": {
    contract: "The first POST's bodies just end",
    holdfast: "They end with an error event of type conversation_replaced",
    why: "Official SDKs take a clean end for a complete answer",
  },
  "one-session-per-conversation": {
    contract: "<id> and <id>::<model> are two sessions and can both be live",
    holdfast:
      "They belong to one conversation: the second POST replaces the first. GET and DELETE still name one exactly",
    why: "A user has one conversation, whatever the model; two live sessions would hold two slots for it",
  },
  "a-refused-second-post": {
    contract: "A POST refused for its parameters costs the live session its life and its bytes",
    holdfast: "The live session ends as replaced, and what it said stays replayable",
    why: "A typo in a parameter must not destroy an answer",
  },
  "more-in-a-lookup-row": {
    contract: "conversation_id, is_done, total_bytes, started_at, completed_at",
    holdfast: "session, end, dropped_bytes and reattached too",
    why: "Nothing in llama-server's row tells one session of an id from the next, how it ended, or where it begins",
  },
  "a-limit-for-lookups": {
    contract: "5,000 ids are fine",
    holdfast: "More than 10,000 are 400",
    why: "What one request may ask is bounded",
  },
  "retained-size": {
    contract: "The newest 4,194,304 bytes, to the byte",
    holdfast: "RETAINED_BYTES and at most 256 KiB more; the row's dropped_bytes says from where on",
    why: "The gateway has a disk, and drops whole rows of its table",
  },
  "a-reader-that-lags": {
    contract: "A reader whose bytes were dropped gets a clean end",
    holdfast: "Its connection breaks",
    why: "Official SDKs take a clean end for a complete answer",
  },
  "a-client-that-stalls": {
    contract: "Once its socket buffers are full, the session grows no more for anybody",
    holdfast: "It delays nobody",
    why: "A phone that vanished without a word looks just like it",
    demoOriginIsBetter: true,
  },
  "pings-in-silence": {
    contract: "A reader of a session that still waits for a slot gets headers, and then nothing",
    holdfast: "A ping after at most 2 s of silence, which counts like every other byte",
    why: "llama.cpp's web UI gives a stream up that is silent for 3 s; tunnels do so later",
  },
  "json-answers-are-kept": {
    contract: "The answer to stream:false is never replayable: the id is 404 when it is sent",
    holdfast: "GET gives the same JSON, as application/json",
    why: "A phone that slept through a short answer should find it too",
  },
  "anthropic-without-messages": {
    contract: "/v1/messages without messages is 500 server_error",
    holdfast: "400 invalid_request_error",
    why: "It is the client's mistake; SDKs retry a 500",
  },
  "oversized-bodies": {
    contract: "A body of any size is read",
    holdfast: "More than MAX_REQUEST_BYTES is 413",
    why: "An isolate has 128 MB for all its requests",
  },
  "limits-of-an-id": {
    contract: "Any header value up to 8 KiB is an id",
    holdfast: "More than 512 bytes are 400",
    why: "The id is part of a Durable Object's name",
  },
  "ids-belong-to-a-tenant": {
    contract: "Any valid key can read, look up and stop any id",
    holdfast: "For another tenant's key the id does not exist",
    why: "Keys belong to different people",
  },
  "sessions-have-names": {
    contract: "Nothing in a stream's headers tells which session it is",
    holdfast: "Holdfast-Session does, the same for the POST and every GET",
    why: "A client that resumes with an old offset must not get bytes of another answer",
  },
  "preflight-names-headers": {
    contract: "Access-Control-Allow-Headers is *",
    holdfast: "It lists Authorization, X-Conversation-Id and the others by name",
    why: "* does not cover Authorization, so browsers refuse the request",
  },
} satisfies Record<string, Difference>;

export type DifferenceKey = keyof typeof DIFFERENCES;

/** Runs the assertions for the side that this target is on. */
export async function onEach(
  target: Target,
  key: DifferenceKey,
  sides: { contract: () => void | Promise<void>; holdfast: () => void | Promise<void> },
): Promise<void> {
  const difference: Difference = DIFFERENCES[key];
  const isOurs = target.kind === "holdfast" || (target.kind === "demo-origin" && difference.demoOriginIsBetter);
  await (isOurs ? sides.holdfast() : sides.contract());
}
