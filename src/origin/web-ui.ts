/**
 * llama.cpp's own web UI, as the origin serves it (routes/page.ts has its routes): its files, asked for with the gateway's
 * key, and kept by browsers.
 */
import { ApiError, originUnreachable } from "../errors.ts";
import { unauthorized } from "./origin.ts";
import type { OriginConfig } from "./origins-config.ts";
import { poolOf } from "./pool.ts";
import { fetchOrigin, pickHeaders } from "./transport.ts";

const FORWARDED_REQUEST_HEADERS = ["Accept", "If-None-Match", "If-Modified-Since"] as const;

/** What a browser needs to show and to keep the files; the UI's own isolation headers are among it. */
const PASSED_RESPONSE_HEADERS = [
  "Content-Type",
  "Content-Security-Policy",
  "Cross-Origin-Embedder-Policy",
  "Cross-Origin-Opener-Policy",
  "Cache-Control",
  "ETag",
  "Last-Modified",
] as const;

/**
 * Of a GET or HEAD. Of several origins always the same one, as long as it is there: their builds may have other files. Throws
 * ApiError 502 when it is not there, refuses the gateway's key, or sends us elsewhere.
 */
export async function webUiFile(origins: readonly OriginConfig[], request: Request, path: string): Promise<Response> {
  const pool = poolOf(origins);
  const [name = ""] = pool.rank({ model: undefined, key: "web UI" });
  const origin = pool.get(name);
  if (!origin) throw originUnreachable(new Error("There is no origin"));
  const headers = pickHeaders(request.headers, FORWARDED_REQUEST_HEADERS);
  const { method, signal } = request;
  const response = await fetchOrigin(origin.config, path, { method, headers, signal }).catch((cause) => {
    throw originUnreachable(cause);
  });
  const { status, body } = response;
  if (status === 200 || status === 304 || status === 404) {
    return new Response(body, { status, headers: pickHeaders(response.headers, PASSED_RESPONSE_HEADERS) });
  }
  if (status === 401) throw await unauthorized(response);
  await body?.cancel();
  throw new ApiError(
    502,
    "origin_unreachable",
    `The llama-server behind the gateway answered ${status} for its web UI`,
  );
}
