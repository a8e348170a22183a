import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readLookupIds, readRequestFields } from "../../../src/request/body-fields.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const fields = (text: string | Uint8Array) => readRequestFields(typeof text === "string" ? bytes(text) : text);

/** `text` with these bytes in place of its `?`. */
function withBytes(text: string, ...inside: number[]): Uint8Array {
  const [before = "", after = ""] = text.split("?");
  return Uint8Array.from([...bytes(before), ...inside, ...bytes(after)]);
}

describe("the fields of a request", () => {
  it("are values and byte ranges", async () => {
    const body =
      '{"model":"a","stream":true,"messages": [{"role":"user"}] ,"prompt":"p","input":7,"prompt_cache_key":"k"}';
    const found = await fields(body);
    const text = ({ start, end }: { start: number; end: number }) => body.slice(start, end);
    expect(found).toMatchObject({ stream: true, model: "a", promptCacheKey: "k" });
    expect(found.messages && text(found.messages)).toBe('[{"role":"user"}]');
    expect(found.messages?.kind).toBe("array");
    expect(found.prompt).toMatchObject({ kind: "string" });
    expect(found.input && text(found.input)).toBe("7");
  });

  // Each of these was sent to llama-server 0.7.0, which streams where this says true.
  it.each([
    ["a plain field", '{"stream":true}', true],
    ["an escaped name", '{"str\\u0065am":true}', true],
    ["a name escaped from end to end", '{"\\u0073\\u0074\\u0072\\u0065\\u0061\\u006d":true}', true],
    ["the last of two", '{"stream":false,"stream":true}', true],
    ["the last of two, though another one is true", '{"stream":true,"stream":false}', false],
    ["the last of two, escaped", '{"stream":false,"\\u0073tream":true}', true],
    ["null after true", '{"stream":true,"stream":null}', false],
    ["a nested one", '{"x":{"stream":true},"y":[{"stream":true}]}', false],
    ["a longer name", '{"stream\\u0000":true}', false],
    ["another case", '{"Stream":true}', false],
    ["a string", '{"stream":"true"}', false],
    ["a number", '{"stream":1}', false],
    ["a name in a string", '{"x":"\\"stream\\":true"}', false],
    ["a byte order mark in front", '\ufeff{"stream":true}', true],
    ["blanks everywhere", ' \t\r\n{ "stream" \n:\ttrue } \n', true],
    ["an empty name before it", '{"":1,"stream":true}', true],
  ])("stream: %s", async (_, body, stream) => {
    expect((await fields(body)).stream).toBe(stream);
  });

  it("a model that is no short string is none", async () => {
    expect((await fields('{"model":"\\u00e9\\n\\ud83d\\ude00"}')).model).toBe("é\n😀");
    expect((await fields('{"model":7}')).model).toBeUndefined();
    expect((await fields(`{"model":"${"m".repeat(7_000)}"}`)).model).toBeUndefined();
  });

  // Each of these is a 400 of llama-server 0.7.0 as well, but for the levels.
  it.each<[what: string, body: string | Uint8Array, problem: RegExp]>([
    ["nothing", "", /\(0 bytes\) is not JSON: expected value at byte 0, got the end/],
    ["no JSON", "{bad", /expected name or } at byte 1, got 'b'/],
    ["a cut object", '{"a":1', /expected , or closing bracket at byte 6, got the end/],
    ["a cut string", '{"a":"x', /the end inside a string at byte 7/],
    ["a cut literal", '{"a":tru', /expected true at byte 5/],
    ["something behind it", '{"a":1} x', /expected nothing more at byte 8, got 'x'/],
    ["a comma too many", '{"a":1,}', /expected name at byte 7, got '}'/],
    ["a comma too many in a list", '{"a":[1,]}', /expected value at byte 8, got ']'/],
    ["no comma", '{"a":1 "b":2}', /expected , or closing bracket at byte 7/],
    ["no colon", '{"a" 1}', /expected : at byte 5, got '1'/],
    ["a name without quotes", "{a:1}", /expected name or } at byte 1/],
    ["brackets that do not match", '{"a":[1}', /expected , or closing bracket at byte 7, got '}'/],
    ["a comment", '{"a":1/*x*/}', /at byte 6, got '\/'/],
    ["a form feed", '{"a":1,\f"x":1}', /got byte 0x0c/],
    ["a control character in a string", '{"a":"\u0001"}', /byte 0x01 inside a string at byte 6/],
    ["a leading zero", '{"a":01}', /at byte 6, got '1'/],
    ["a point without digits", '{"a":1.}', /expected a value at byte 5/],
    ["an exponent without digits", '{"a":1e+}', /expected a value at byte 5/],
    ["an unknown escape", '{"a":"\\x"}', /invalid escape at byte 6/],
    ["an escape that is no hex", '{"a":"\\u00g0"}', /invalid escape at byte 6/],
    ["a high surrogate alone", '{"a":"\\ud800"}', /invalid escape at byte 6/],
    ["a low surrogate alone", '{"a":"\\udc00"}', /invalid escape at byte 6/],
    ["an overlong character", withBytes('{"a":"?"}', 0xc0, 0x80), /not UTF-8 at byte 6/],
    ["a surrogate in UTF-8", withBytes('{"a":"?"}', 0xed, 0xa0, 0x80), /not UTF-8 at byte 6/],
    ["a character over U+10FFFF", withBytes('{"a":"?"}', 0xf4, 0x90, 0x80, 0x80), /not UTF-8 at byte 6/],
    ["a cut character", withBytes('{"a":"?"}', 0xe2, 0x82), /not UTF-8 at byte 6/],
    ["two byte order marks", '\ufeff\ufeff{"a":1}', /at byte 3/],
    ["1,001 levels", `{"a":${"[".repeat(1_000)}`, /more than 1000 levels of nesting at byte 1004/],
    ["a list", "[1]", /must be a JSON object/],
    ["a number", "5", /must be a JSON object/],
  ])("%s is a 400 that says where", async (_, body, problem) => {
    await expect(fields(body)).rejects.toMatchObject({ status: 400, message: expect.stringMatching(problem) });
  });

  it("takes 1,000 levels", async () => {
    const body = `{"a":${"[".repeat(999)}${"]".repeat(999)},"stream":true}`;
    expect((await fields(body)).stream).toBe(true);
  });

  it("are those that JSON.parse finds, whatever the document", async () => {
    const name = fc.oneof(fc.constantFrom("stream", "model", "messages", "x"), fc.string());
    await fc.assert(
      fc.asyncProperty(fc.dictionary(name, fc.jsonValue()), fc.nat(3), async (object, indent) => {
        const text = JSON.stringify(object, undefined, indent);
        const parsed: Record<string, unknown> = JSON.parse(text);
        const found = await fields(text);
        expect(found.stream).toBe(parsed.stream === true);
        const body = bytes(text);
        for (const field of ["messages", "prompt", "input"] as const) {
          const range = found[field];
          const value = range && JSON.parse(new TextDecoder().decode(body.subarray(range.start, range.end)));
          expect(value).toEqual(parsed[field]);
        }
      }),
    );
  });

  it("are refused exactly where JSON.parse refuses, after any small damage", async () => {
    const text = fc.jsonValue({ maxDepth: 3 }).map((value) => JSON.stringify({ a: value, stream: true }));
    const damage = fc.record({
      at: fc.nat(),
      cut: fc.nat(2),
      insert: fc.constantFrom(
        "",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        '"',
        "\\",
        "0",
        "-",
        ".",
        "e",
        "t",
        "\n",
        "\u0000",
        "é",
      ),
    });
    await fc.assert(
      fc.asyncProperty(text, damage, async (whole, { at, cut, insert }) => {
        const place = at % (whole.length + 1);
        const damaged = whole.slice(0, place) + insert + whole.slice(place + cut);
        // What JSON.parse takes and llama-server does not; half a pair cannot be sent as UTF-8 either.
        fc.pre(!/\\ud[89a-f]/i.test(damaged) && damaged.isWellFormed());
        expect(
          await fields(damaged).then(
            () => true,
            () => false,
          ),
        ).toBe(isObject(damaged));
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("the ids of a lookup", () => {
  const ids = (body: unknown, most = 10) =>
    readLookupIds(bytes(typeof body === "string" ? body : JSON.stringify(body)), most, 512);

  it("are the non-empty strings of the list, in its order", async () => {
    expect(await ids({ conversation_ids: ["b", 1, null, "", "a", ["c"], { d: "d" }, "b"] })).toEqual(["b", "a", "b"]);
    expect(await ids('{"conversation_ids":["\\u00e9\\/x"]}')).toEqual(["é/x"]);
  });

  it.each([[{}], [[]], [null], [5], ["x"], [{ conversation_ids: "a" }], [{ x: { conversation_ids: ["a"] } }]])(
    "are none in %j",
    async (body) => {
      expect(await ids(JSON.stringify(body))).toEqual([]);
    },
  );

  it("are bounded in number and in length", async () => {
    await expect(ids({ conversation_ids: Array(11).fill("a") })).rejects.toThrow(
      "11 conversation ids; the limit is 10 per request",
    );
    expect(await ids({ conversation_ids: ["x".repeat(4_000), "a"] })).toEqual(["a"]);
  });

  it("cannot be read from what is not JSON", async () => {
    await expect(ids("{bad")).rejects.toThrow("invalid body: expected name or } at byte 1, got 'b'");
  });
});

function isObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}
