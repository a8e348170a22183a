/** What `npm start` can say of a llama-server before the first request: is it there, is it ready, does it take our key. */

export type OriginState =
  | { is: "ready" | "loading" | "other" | "key_refused"; server: string | null }
  | { is: "unreachable"; why: string };

/** Asks `GET /health`, which is open to all, then `GET /props`, which wants the key. */
export async function checkOrigin(url: string, key: string | undefined, limitMs: number): Promise<OriginState> {
  const signal = AbortSignal.timeout(limitMs);
  const headers = { ...(key !== undefined && { Authorization: `Bearer ${key}` }) };
  try {
    const answer = await fetch(`${url}/health`, { signal, headers });
    const server = answer.headers.get("server");
    const is = healthIn(answer.status, await answer.text());
    if (is !== "ready") return { is, server };
    const props = await fetch(`${url}/props`, { signal, headers });
    await props.body?.cancel();
    return { is: props.status === 401 || props.status === 403 ? "key_refused" : "ready", server };
  } catch (error) {
    return { is: "unreachable", why: reason(error, new URL(url), limitMs) };
  }
}

function healthIn(status: number, body: string): "ready" | "loading" | "key_refused" | "other" {
  if (status === 200 && /"status"\s*:\s*"ok"/.test(body)) return "ready";
  if (status === 503 && body.includes("Loading model")) return "loading";
  return status === 401 || status === 403 ? "key_refused" : "other";
}

/** What the user can do about it differs, so each has its own words. */
function reason(error: unknown, { host, hostname }: URL, limitMs: number): string {
  if (error instanceof Error && error.name === "TimeoutError")
    return `${host} did not answer within ${limitMs / 1000} s`;
  const cause = error instanceof Error ? error.cause : undefined;
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  switch (code) {
    case "ECONNREFUSED":
      return `nothing listens on ${host} (connection refused)`;
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `the host name ${hostname} cannot be resolved`;
    default:
      return `asking ${host} failed: ${cause instanceof Error ? cause.message : String(error)}`;
  }
}

/** The sentence for the user, or none where all is well. */
export function originWarning(url: string, state: OriginState, hasKey: boolean): string | undefined {
  switch (state.is) {
    case "ready":
      return undefined;
    case "loading":
      return `${url} is still loading its model; requests fail until it is done`;
    case "other":
      return `${url} answers, but GET /health does not look like a llama-server`;
    case "key_refused":
      return hasKey
        ? `${url} rejected the gateway's key (--origin-key / ORIGIN_API_KEY); requests fail until it is the llama-server's --api-key`
        : `${url} wants an API key: set --origin-key or ORIGIN_API_KEY to the llama-server's --api-key`;
    case "unreachable":
      return `${state.why}; requests fail until ${url} answers`;
  }
}
