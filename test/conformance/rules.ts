/**
 * The protocol as rules: one table for llama-server, the demo origin, Holdfast in front of either, and any other server that
 * claims it. rules.test.ts registers all of them with the test runner; `holdfast conformance` runs them against an address.
 */
import { BOUNDS } from "./bounds.ts";
import { ERRORS } from "./errors.ts";
import { FROM } from "./from.ts";
import { IDS } from "./ids.ts";
import { JSON_ANSWERS } from "./json.ts";
import { LOOKUP } from "./lookup.ts";
import { REPLACE } from "./replace.ts";
import { REPLAY } from "./replay.ts";
import type { Rule } from "./rule.ts";
import { STOP } from "./stop.ts";
import { WAITING } from "./waiting.ts";

export interface Topic {
  /** The rules' names go on from it. */
  name: string;
  rules: readonly Rule[];
}

export const TOPICS: readonly Topic[] = [
  { name: "replay", rules: REPLAY },
  { name: "from", rules: FROM },
  { name: "ids", rules: IDS },
  { name: "lookup", rules: LOOKUP },
  { name: "DELETE", rules: STOP },
  { name: "a second POST", rules: REPLACE },
  { name: "stream:false with an id", rules: JSON_ANSWERS },
  { name: "errors", rules: ERRORS },
  { name: "waiting for a slot", rules: WAITING },
  { name: "more than is retained", rules: BOUNDS },
];
