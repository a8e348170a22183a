/** Request bodies, never more of them than the limit. */
import { ApiError } from "../errors.ts";

/** The whole body. Throws a 413 when it is, or says it is, over the limit. */
export async function readBody(request: Request, maxBytes: number): Promise<Uint8Array> {
  const declared = request.headers.get("Content-Length");
  // HTTP itself holds a request to the length it declares.
  if (declared !== null) {
    if (Number(declared) > maxBytes) throw tooLarge(`${declared} bytes`, maxBytes);
    return new Uint8Array(await request.arrayBuffer());
  }
  const chunks: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of request.body ?? []) {
    total += chunk.length;
    if (total > maxBytes) throw tooLarge(`more than ${maxBytes} bytes`, maxBytes);
    chunks.push(chunk);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

function tooLarge(size: string, maxBytes: number): ApiError {
  return new ApiError(413, "payload_too_large", `The request body is ${size}; the limit is ${maxBytes} bytes`);
}
