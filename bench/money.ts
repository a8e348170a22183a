/**
 * What an answer costs on Cloudflare's paid plan, from what it was measured to write. Prices as in the docs, platform
 * notes section C; the allotments that the plan includes are left out of the price of a million tokens, and taken into
 * account for the single user.
 */

/** Dollars a GB-second: an object is billed as 128 MB for the time that it works, whatever it uses. */
const DURATION = 12.5 / 1e6;
const OBJECT_GB = 0.128;
const ROW_WRITTEN = 1 / 1e6;
const OBJECT_REQUEST = 0.15 / 1e6;
const WORKER_REQUEST = 0.3 / 1e6;
const STORED_GB_MONTH = 0.2;

const PLAN = 5;
const INCLUDED = { gbSeconds: 400_000, rows: 50e6, objectRequests: 1e6, workerRequests: 10e6 };

const SECONDS_A_MONTH = 30 * 86_400;
/** SESSION_TTL_SECONDS of wrangler.toml: how long an answer is kept. */
const KEPT_SECONDS = 3_600;

/** One answer of 1,000 tokens at 50 tokens/s. */
export interface AnswerCost {
  /** Rows written, alarms set among them. */
  rows: number;
  /** Of the object: the POST and the alarms that went off. */
  objectRequests: number;
  storedBytes: number;
}

const TOKENS = 1_000;
const SECONDS = 20;

export const FORMULA =
  "dollars per million tokens = 1000 answers × (20 s × 0.128 GB × $12.50/M GB-s + rows × $1/M " +
  "+ object requests × $0.15/M + 1 Worker request × $0.30/M + GB stored × 1 h × $0.20 per GB-month)";

export interface Money {
  perMillionTokens: number;
  duration: number;
  rows: number;
  requests: number;
  storage: number;
  /** One user who generates without a pause, a month, the plan's price included. */
  oneUserMonth: number;
  /** 10,000 live answers at any time, a month. */
  tenThousandUsersMonth: number;
}

export function moneyOf({ rows, objectRequests, storedBytes }: AnswerCost): Money {
  const answers = 1e6 / TOKENS;
  const duration = answers * SECONDS * OBJECT_GB * DURATION;
  const rowsPrice = answers * rows * ROW_WRITTEN;
  const requests = answers * (objectRequests * OBJECT_REQUEST + WORKER_REQUEST);
  const storage = (answers * (storedBytes / 1e9) * STORED_GB_MONTH * KEPT_SECONDS) / SECONDS_A_MONTH;
  const perMillionTokens = duration + rowsPrice + requests + storage;

  const answersAMonth = SECONDS_A_MONTH / SECONDS;
  const over = (used: number, included: number) => Math.max(0, used - included);
  const oneUserMonth =
    PLAN +
    over(SECONDS_A_MONTH * OBJECT_GB, INCLUDED.gbSeconds) * DURATION +
    over(answersAMonth * rows, INCLUDED.rows) * ROW_WRITTEN +
    over(answersAMonth * objectRequests, INCLUDED.objectRequests) * OBJECT_REQUEST +
    over(answersAMonth, INCLUDED.workerRequests) * WORKER_REQUEST;
  const tenThousandUsersMonth = ((10_000 * answersAMonth * TOKENS) / 1e6) * perMillionTokens;
  return { perMillionTokens, duration, rows: rowsPrice, requests, storage, oneUserMonth, tenThousandUsersMonth };
}
