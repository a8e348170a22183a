import { beforeAll, expect, it } from "vitest";
import { buildPage, gzippedBytes, MOST_GZIPPED_BYTES, type PageFile } from "../../../tools/page.ts";

let files: PageFile[];

beforeAll(async () => {
  files = await buildPage();
});

it("the whole page, icons and service worker included, is small", () => {
  expect(gzippedBytes(files)).toBeLessThan(MOST_GZIPPED_BYTES);
});

it("the page names no other host", () => {
  const hosts = files
    .filter(({ type }) => type !== "image/png")
    .flatMap(({ body }) => body.toString().match(/https?:\/\/[\w.-]+/g) ?? []);

  // The name of a vocabulary, not an address that anybody asks.
  expect(new Set(hosts)).toEqual(new Set(["http://www.w3.org"]));
});
