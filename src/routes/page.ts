/**
 * GET / and the page's few files: public, because a browser that opens an address sends no key. With UI=origin they are
 * the origin's own web UI, asked for with the gateway's key.
 */

import { files, type PageFile } from "holdfast-page";
import type { Context, Next } from "hono";
import { configOf, uiOf } from "../config.ts";
import type { AppEnv } from "../context.ts";
import { webUiFile } from "../origin/web-ui.ts";
import { urlOf } from "../request/url.ts";

/**
 * No script but ours, nothing from another host, and no text that becomes markup: hostile markdown has nothing to work
 * with. The one policy lets the page name its own service worker.
 */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data: blob:",
  "connect-src 'self'",
  "manifest-src 'self'",
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types service-worker",
].join("; ");

/** What llama.cpp's web UI loads without a key, in its builds of 2026. Plain names only: nothing that decodes to a way out. */
const ORIGIN_UI =
  /^\/(?:index\.html|bundle\.(?:js|css)|_app\/[\w./-]+|(?:favicon|pwa-|apple-|maskable-icon|workbox-)[\w.-]*|manifest\.webmanifest|sw\.js|build\.json|recommended-mcp\/[\w./-]+)?$/;

export async function page(c: Context<AppEnv>, next: Next): Promise<Response | undefined> {
  const { pathname } = urlOf(c.req.raw);
  if (uiOf(c.env) === "page") {
    const file = files[pathname];
    if (file && Object.hasOwn(files, pathname)) return answer(c, file);
  } else if (ORIGIN_UI.test(pathname)) {
    return await webUiFile(configOf(c.env).origins, c.req.raw, pathname);
  }
  await next();
  return undefined;
}

function answer(c: Context<AppEnv>, file: PageFile): Response {
  const headers = {
    "Content-Type": file.type,
    "Cache-Control": file.cache,
    ETag: file.etag,
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
  };
  if (isKnown(c.req.header("If-None-Match"), file.etag)) return new Response(null, { status: 304, headers });
  return new Response(file.body, { headers });
}

/** Weak ones too: Cloudflare weakens the ETag of what it compresses. */
function isKnown(header: string | undefined, etag: string): boolean {
  return header?.split(",").some((known) => known.trim().replace(/^W\//, "") === etag) ?? false;
}
