/** What the rules claim, on node:assert alone: they run without a test runner too. */
import assert from "node:assert/strict";
import type { Answer } from "../support/http.ts";

/** Two different bodies fail with the place where they part, not with megabytes of text. */
export function expectSameBytes(actual: Buffer, expected: Buffer): void {
  if (actual.equals(expected)) return;
  let at = 0;
  while (at < Math.min(actual.length, expected.length) && actual[at] === expected[at]) at++;
  const around = (bytes: Buffer) => JSON.stringify(bytes.subarray(Math.max(0, at - 40), at + 80).toString());
  throw new Error(
    `The bodies part at ${at} (${actual.length} bytes, expected ${expected.length}):\n` +
      `  actual   ${around(actual)}\n  expected ${around(expected)}`,
  );
}

/** Everything of `part` is the beginning of `whole`. */
export function expectBeginning(part: Buffer, whole: Buffer): void {
  expectSameBytes(part, whole.subarray(0, part.length));
}

export function expectDone(body: Buffer): void {
  const end = body.subarray(-60).toString();
  assert.ok(end.endsWith("data: [DONE]\n\n"), `The body ends with ${JSON.stringify(end)}`);
}

/** Objects may have more fields than `expected`, arrays are as long; a RegExp stands for text that it matches. */
export function expectMatch(actual: unknown, expected: unknown, where = "It"): void {
  if (expected instanceof RegExp) assert.match(String(actual), expected, `${where} is ${JSON.stringify(actual)}`);
  else if (Array.isArray(expected)) {
    assert.ok(Array.isArray(actual) && actual.length === expected.length, `${where} is ${JSON.stringify(actual)}`);
    for (const [index, value] of expected.entries()) expectMatch(actual[index], value, `${where}[${index}]`);
  } else if (typeof expected === "object" && expected !== null) {
    const fields = fieldsOf(actual, where);
    for (const [name, value] of Object.entries(expected)) expectMatch(fields[name], value, `${where}.${name}`);
  } else assert.deepEqual(actual, expected, `${where} is ${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`);
}

function fieldsOf(value: unknown, where: string): Record<string, unknown> {
  assert.ok(typeof value === "object" && value !== null, `${where} is ${JSON.stringify(value)}`);
  return { ...value };
}

/** In llama-server's shape, with a message. */
export async function expectError(answer: Answer, status: number, type: string): Promise<void> {
  const text = (await answer.whole()).toString();
  assert.equal(answer.status, status, text.slice(0, 300));
  assert.match(String(answer.headers["content-type"]), /^application\/json/);
  expectMatch(JSON.parse(text), { error: { code: status, type, message: /./ } });
}

export async function expectStatus(answer: Answer, status: number): Promise<void> {
  assert.equal(
    answer.status,
    status,
    answer.status >= 400 ? (await answer.whole()).toString().slice(0, 300) : undefined,
  );
}
