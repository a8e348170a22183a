/** `holdfast/client`: a fetch whose answers survive the network. See docs/client.md. */
export type { LookupRow } from "../protocol.ts";
export { HoldfastError, type HoldfastErrorCode } from "./holdfast-error.ts";
export type {
  AnswerEnd,
  AnswerState,
  AttachOptions,
  Fetch,
  ResumeStorage,
  ResumingFetch,
  ResumingFetchOptions,
} from "./options.ts";
export { createResumingFetch } from "./resuming-fetch.ts";
