/**
 * The page's files, as one module of the Worker's bundle: the same bytes deployed and on this machine.
 *
 *     page/*.ts, *.css ──esbuild──▶ /page/app-<hash>.js, /page/style-<hash>.css ─┐
 *     page/index.html, manifest, icons ──────────────────────────────────────────┴─▶ <folder>/.page/files.js
 *
 * wrangler.toml's `[build]` runs it before each bundling and `[alias]` finds its result as "holdfast-page".
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { build, type OutputFile } from "esbuild";

const PAGE = resolve(import.meta.dirname, "../page");

/** A stranger on a phone network should have it in about a second. */
export const MOST_GZIPPED_BYTES = 60_000;

/** The name of such a file changes with its content. */
const FOR_EVER = "public, max-age=31536000, immutable";
const ASK_EACH_TIME = "no-cache";

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
  png: "image/png",
  webmanifest: "application/manifest+json",
};

export interface PageFile {
  path: string;
  type: string;
  cache: string;
  etag: string;
  body: Buffer;
}

/** Builds the page and writes it where the Worker's bundler finds it. Throws when the page has grown too large. */
export async function writePage(folder: string): Promise<void> {
  const files = await buildPage();
  const bytes = gzippedBytes(files);
  if (bytes > MOST_GZIPPED_BYTES) {
    throw new Error(`The page is ${bytes} bytes gzipped; ${MOST_GZIPPED_BYTES} is the most it may be`);
  }
  const target = join(folder, ".page");
  await mkdir(target, { recursive: true });
  await writeFile(join(target, "files.js"), moduleOf(files));
}

export async function buildPage(): Promise<PageFile[]> {
  const { outputFiles } = await bundle();
  const scripts = outputFiles.filter(({ path }) => !path.endsWith(".map"));
  const hashed = scripts.map((output) => file(`/page/${nameOf(output)}`, Buffer.from(output.contents), FOR_EVER));
  const icons = await Promise.all(
    ["icon.svg", "icon-192.png", "icon-512.png"].map(async (name) =>
      file(`/page/${name}`, await readFile(join(PAGE, "icons", name)), "public, max-age=86400"),
    ),
  );
  const manifest = file("/manifest.webmanifest", await readFile(join(PAGE, "manifest.webmanifest")), ASK_EACH_TIME);
  const index = file("/", Buffer.from(await indexWith(hashed)), ASK_EACH_TIME);
  const shell = [index, manifest, ...hashed, ...icons];
  return [...shell, file("/sw.js", await serviceWorker(shell), ASK_EACH_TIME)];
}

/** What a first visit transfers, where the server compresses. */
export function gzippedBytes(files: readonly PageFile[]): number {
  return files.reduce((sum, { body }) => sum + gzipSync(body, { level: 9 }).length, 0);
}

/** The modules that the page is made of. */
export async function pageModules(): Promise<string[]> {
  const { metafile } = await bundle();
  return Object.keys(metafile.inputs);
}

async function bundle() {
  return await build({
    absWorkingDir: PAGE,
    entryPoints: { app: "main.ts", style: "style/main.css" },
    outdir: PAGE,
    entryNames: "[name]-[hash]",
    bundle: true,
    minify: true,
    format: "esm",
    target: ["es2022", "safari16.4"],
    legalComments: "none",
    write: false,
    metafile: true,
    logLevel: "silent",
  });
}

async function serviceWorker(shell: readonly PageFile[]): Promise<Buffer> {
  const version = createHash("sha256")
    .update(shell.map(({ etag }) => etag).join())
    .digest("hex")
    .slice(0, 16);
  const { outputFiles } = await build({
    absWorkingDir: PAGE,
    entryPoints: ["service-worker.ts"],
    define: { SHELL: JSON.stringify(shell.map(({ path }) => path)), VERSION: JSON.stringify(version) },
    bundle: true,
    minify: true,
    format: "iife",
    target: ["es2022", "safari16.4"],
    write: false,
    logLevel: "silent",
  });
  return Buffer.from(outputFiles[0]?.contents ?? []);
}

async function indexWith(hashed: readonly PageFile[]): Promise<string> {
  const html = await readFile(join(PAGE, "index.html"), "utf8");
  return html.replace(/\{\{(app|style)\}\}/g, (_, name) => {
    const found = hashed.find(({ path }) => path.startsWith(`/page/${name}-`));
    if (!found) throw new Error(`The page has no ${name}`);
    return found.path;
  });
}

function nameOf({ path }: OutputFile): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function file(path: string, body: Buffer, cache: string): PageFile {
  const extension = path === "/" ? "html" : path.slice(path.lastIndexOf(".") + 1);
  const type = TYPES[extension];
  if (type === undefined) throw new Error(`What is the type of ${path}?`);
  const etag = `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`;
  return { path, type, cache, etag, body };
}

function moduleOf(files: readonly PageFile[]): string {
  const entries = files.map(({ path, type, cache, etag, body }) => {
    const content = type.startsWith("image/png")
      ? `Uint8Array.from(atob(${JSON.stringify(body.toString("base64"))}), (c) => c.charCodeAt(0))`
      : JSON.stringify(body.toString("utf8"));
    return `${JSON.stringify(path)}: { type: ${JSON.stringify(type)}, cache: ${JSON.stringify(cache)}, etag: ${JSON.stringify(etag)}, body: ${content} }`;
  });
  return `export const files = {\n${entries.join(",\n")}\n};\n`;
}
