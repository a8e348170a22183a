/** npm run build: the Worker as `wrangler deploy` would upload it, into dist/. */
import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { gzipSync } from "node:zlib";
import { buildBundle, DIST } from "../tools/bundle.ts";
import { fail } from "../tools/command-line.ts";
import { buildPage, gzippedBytes, MOST_GZIPPED_BYTES } from "../tools/page.ts";

const bundle = await buildBundle(DIST).catch((error: Error) => fail(error.message));
for (const file of await readdir(bundle)) {
  if (file.startsWith(".") || file.endsWith(".map") || file === "README.md") continue;
  const path = join(bundle, file);
  const content = await readFile(path);
  console.log(`${relative(process.cwd(), path)}  ${kib(content.length)}, ${kib(gzipSync(content).length)} gzipped`);
}

const page = gzippedBytes(await buildPage());
console.log(`In it the page: ${(page / 1000).toFixed(1)} kB gzipped, of at most ${MOST_GZIPPED_BYTES / 1000}`);

function kib(bytes: number): string {
  return `${(bytes / 1024).toFixed(1)} KiB`;
}
