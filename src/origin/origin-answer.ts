/** What an origin answered: never more of it read than wanted, and believed only in the shape that llama-server uses. */

/**
 * Whether an answer that is no success is the origin's own: JSON with an `error`, as llama-server and the servers that
 * speak OpenAI's API send it. A tunnel's or an ingress's answer is a page, plain text, or JSON of another shape.
 */
export function isOwnError(headers: Headers, text: string): boolean {
  if (!/^application\/json\b/i.test(headers.get("Content-Type") ?? "")) return false;
  try {
    const error: unknown = JSON.parse(text)?.error;
    return (typeof error === "object" && error !== null && "message" in error) || typeof error === "string";
  } catch {
    // Cut, or no JSON in spite of its type.
    return false;
  }
}

/** The first `maxBytes` of the body; the rest is not read. */
export async function readAtMost(response: Response, maxBytes: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    const wanted = part.subarray(0, maxBytes - length);
    parts.push(wanted);
    length += wanted.length;
    if (length >= maxBytes) break;
  }
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
