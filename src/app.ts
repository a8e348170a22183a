/** The route table: path → middleware → handler; every error → response. */
import { Hono } from "hono";
import { cors } from "hono/cors";
import { configOf, corsOriginsOf } from "./config.ts";
import type { AppEnv } from "./context.ts";
import { ApiError, errorResponse, internalError, notFound } from "./errors.ts";
import { GENERATING_PATHS } from "./families.ts";
import {
  ADMIN_PATH,
  CONVERSATION_HEADER,
  IDEMPOTENCY_HEADER,
  LOOKUP_PATH,
  ORIGIN_HEADER,
  RATE_LIMIT_HEADERS,
  RETRY_COUNT_HEADER,
  SESSION_HEADER,
  SHOULD_RETRY_HEADER,
  STREAM_PATH,
  USAGE_PATH,
} from "./protocol.ts";
import { pathOf, urlOf } from "./request/url.ts";
import { admin } from "./routes/admin.ts";
import { generate } from "./routes/generate.ts";
import { health } from "./routes/health.ts";
import { lookup } from "./routes/lookup.ts";
import { MODELS_PATHS, models } from "./routes/models.ts";
import { page } from "./routes/page.ts";
import { PASSTHROUGH_ROUTES, passthrough, passthroughIfOpened } from "./routes/passthrough.ts";
import { requireKey } from "./routes/require-key.ts";
import { replay, stop } from "./routes/stream.ts";
import { usage } from "./routes/usage.ts";

export const app = new Hono<AppEnv>({ getPath: pathOf });

// Before all that is said about the API: a browser that opens an address sends no key, and may keep the page's files.
app.get("*", page);

app.use(async (c, next) => {
  await next();
  // Nothing of ours is the same for the next one who asks.
  c.res.headers.set("Cache-Control", "no-store");
});
app.use(
  cors({
    origin: (origin, c) => allowedOrigin(origin, corsOriginsOf(c.env)),
    allowMethods: ["GET", "HEAD", "POST", "DELETE", "OPTIONS"],
    // `*` does not cover Authorization by the Fetch standard, and covers nothing for requests with credentials.
    allowHeaders: [
      "Authorization",
      "X-Api-Key",
      "Content-Type",
      CONVERSATION_HEADER,
      IDEMPOTENCY_HEADER,
      RETRY_COUNT_HEADER,
      "Last-Event-ID",
      "*",
    ],
    exposeHeaders: [
      SESSION_HEADER,
      ORIGIN_HEADER,
      SHOULD_RETRY_HEADER,
      "Retry-After",
      ...Object.values(RATE_LIMIT_HEADERS),
    ],
    maxAge: 86_400,
  }),
);

app.use(async (c, next) => {
  urlOf(c.req.raw);
  await next();
});

app.get("/health", health);
app.get("/v1/health", health);

app.use(async (c, next) => {
  c.set("config", configOf(c.env));
  await next();
});
app.route(ADMIN_PATH, admin);

app.use(requireKey);
// The paths are in families.ts.
for (const path of GENERATING_PATHS) app.post(path, generate(path));
app.get(STREAM_PATH, replay);
app.get(`${STREAM_PATH}/*`, replay);
app.delete(STREAM_PATH, stop);
app.delete(`${STREAM_PATH}/*`, stop);
app.post(LOOKUP_PATH, lookup);
app.get(USAGE_PATH, usage);
for (const path of MODELS_PATHS) app.get(path, (c) => models(c, path));
for (const [method, path] of PASSTHROUGH_ROUTES) app.on(method, path, (c) => passthrough(c, path));
app.all("*", passthroughIfOpened);

app.notFound(() => errorResponse(notFound()));
app.onError((error) => {
  return errorResponse(error instanceof ApiError ? error : internalError(error));
});

function allowedOrigin(origin: string, corsOrigins: readonly string[]): string | null {
  if (corsOrigins.includes("*")) return "*";
  return corsOrigins.includes(origin) ? origin : null;
}
