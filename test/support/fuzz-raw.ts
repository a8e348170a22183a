/** Requests that no HTTP client sends, and what may be answered to each. */
import type { Random } from "./random.ts";

export interface RawCase {
  readonly bytes: string;
  /** Of the answers, in order; a connection that just ends is an answer too. */
  readonly statuses: readonly number[];
}

type Build = (authorization: string, random: Random, id: string) => RawCase;

const post = (path: string, headers: string, body: string) =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\n${headers}\r\n\r\n${body}`;

const CASES: readonly Build[] = [
  (auth) => ({ bytes: post("/tokenize", `${auth}\r\nContent-Length: 10`, "abc"), statuses: [400] }),
  (auth) => ({ bytes: post("/tokenize", `${auth}\r\nContent-Length: -1`, "abc"), statuses: [400] }),
  (auth) => ({ bytes: post("/tokenize", `${auth}\r\nTransfer-Encoding: chunked`, "zz\r\nabc"), statuses: [400] }),
  (auth) => ({ bytes: post("/tokenize", `${auth}\r\nTransfer-Encoding: chunked`, "3\r\nabcde\r\n"), statuses: [400] }),
  (auth) => ({
    bytes: post("/tokenize", `${auth}\r\nTransfer-Encoding: chunked`, "ffffffffffffffff1\r\na"),
    statuses: [400],
  }),
  (auth, _, id) => ({
    bytes: post(
      "/v1/chat/completions",
      `${auth}\r\nX-Conversation-Id: ${id}\r\nTransfer-Encoding: chunked`,
      '5\r\n{"mes',
    ),
    statuses: [400],
  }),
  (auth) => ({ bytes: `GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\n${auth}\r\n\r\n`, statuses: [400] }),
  (auth) => ({ bytes: `GET /v1/models HTTP/1.1\r\n${auth}\r\n\r\n`, statuses: [400] }),
  (auth, random) => ({
    bytes: `GET /v1/models HTTP/1.1\r\nHost: ${["a\\slots?x=", "a b", "[", "a#", "é", "a:99999", "@"][random.between(0, 6)]}\r\n${auth}\r\n\r\n`,
    statuses: [400],
  }),
  (auth) => ({ bytes: `GET /v1/models HTTP/1.1\r\nHost: a\r\n${auth}\r\nno colon\r\n\r\n`, statuses: [400] }),
  (auth) => ({ bytes: `GET /v1/models HTTP/1.1\r\nHost: a\r\n${auth}\r\nX: a\0b\r\n\r\n`, statuses: [400] }),
  (auth) => ({
    bytes: `GET /v1/models HTTP/1.1\r\nHost: a\r\n${auth}\r\nX: ${"y".repeat(600_000)}\r\n\r\n`,
    statuses: [431],
  }),
  (auth) => ({ bytes: `GET /../slots HTTP/1.1\r\nHost: a\r\n${auth}\r\n\r\n`, statuses: [404] }),
  (auth) => ({ bytes: `GET //evil/v1/models HTTP/1.1\r\nHost: a\r\n${auth}\r\n\r\n`, statuses: [404] }),
  (auth) => ({ bytes: `GET http://other/metrics HTTP/1.1\r\nHost: a\r\n${auth}\r\n\r\n`, statuses: [404] }),
  (auth) => ({ bytes: `GET /v1/stream?conv_id=%ff%fe HTTP/1.1\r\nHost: a\r\n${auth}\r\n\r\n`, statuses: [400] }),
  (auth) => ({ bytes: `GET /v1/stream/%00 HTTP/1.1\r\nHost: a\r\n${auth}\r\n\r\n`, statuses: [400] }),
  (auth) => ({ bytes: `GET /v1/stream/${"x".repeat(600)} HTTP/1.1\r\nHost: a\r\n${auth}\r\n\r\n`, statuses: [400] }),
  (auth, random) => ({
    bytes: `${["PUT", "PATCH", "TRACE", "PROPFIND"][random.between(0, 3)]} /v1/models HTTP/1.1\r\nHost: a\r\n${auth}\r\n\r\n`,
    statuses: [404],
  }),
  // The runtime knows no such method, and says so itself.
  (auth) => ({ bytes: `FROB /v1/models HTTP/1.1\r\nHost: a\r\n${auth}\r\n\r\n`, statuses: [501] }),
  // The runtime says yes, and ends the connection.
  () => ({ bytes: "CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n", statuses: [200] }),
  () => ({ bytes: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", statuses: [400, 501] }),
  (_, random) => ({
    bytes: `${Array.from({ length: 50 }, () => String.fromCharCode(random.between(1, 255))).join("")}\r\n\r\n`,
    statuses: [400, 501],
  }),
  () => ({ bytes: "GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer wrong\r\n\r\n", statuses: [401] }),
  (auth) => ({ bytes: `OPTIONS /anything HTTP/1.1\r\nHost: a\r\n${auth}\r\n\r\n`, statuses: [204] }),
  // Two lengths: whoever believes the other one sees another request behind it.
  (auth) => ({
    bytes: `${post("/tokenize", `${auth}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked`, "0\r\n\r\n")}GET /slots HTTP/1.1\r\nHost: a\r\n\r\n`,
    statuses: [200, 400, 401],
  }),
];

export function rawCase(authorization: string, random: Random, id: string): RawCase {
  const build = CASES[random.between(0, CASES.length - 1)];
  if (!build) throw new Error("There are cases");
  return build(authorization, random, id);
}

/** Several at once on one connection: answered in order. */
export function pipeline(authorization: string, id: string): RawCase {
  const head = `Host: a\r\n${authorization}`;
  const body = JSON.stringify({ conversation_ids: [`${id}-unknown`] });
  return {
    bytes:
      `GET /health HTTP/1.1\r\n${head}\r\n\r\n` +
      `GET /v1/stream/${id}-unknown HTTP/1.1\r\n${head}\r\n\r\n` +
      post("/v1/streams/lookup", `${authorization}\r\nContent-Length: ${body.length}`, body) +
      `DELETE /v1/stream?conv_id=${id}-unknown HTTP/1.1\r\n${head}\r\n\r\n` +
      `GET /slots HTTP/1.1\r\n${head}\r\n\r\n`,
    statuses: [200, 404, 200, 204, 404],
  };
}
