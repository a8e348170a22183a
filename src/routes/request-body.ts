/** Request bodies, never more of them than the limit. */
import { ApiError } from "../errors.ts";

export interface LimitedBody {
  /** The body as it arrives. Breaks off when it grows over the limit. */
  readonly stream: ReadableStream<Uint8Array> | null;
  /** The error to answer when it did. */
  exceeded(): ApiError | undefined;
}

/** Throws a 413 at once when the request says that it is too large. */
export function limitedBody(request: Request, maxBytes: number): LimitedBody {
  const declared = request.headers.get("Content-Length");
  if (declared !== null && Number(declared) > maxBytes) throw tooLarge(`${declared} bytes`, maxBytes);
  // A declared length is enforced by HTTP itself, and the native stream keeps it.
  if (declared !== null || !request.body) return { stream: request.body, exceeded: () => undefined };
  let error: ApiError | undefined;
  let total = 0;
  const counter = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      total += chunk.length;
      if (total > maxBytes) {
        error = tooLarge(`more than ${maxBytes} bytes`, maxBytes);
        throw error;
      }
      controller.enqueue(chunk);
    },
  });
  return { stream: request.body.pipeThrough(counter), exceeded: () => error };
}

/** The whole body. Throws a 413 when it is over the limit. */
export async function readBody(request: Request, maxBytes: number): Promise<Uint8Array> {
  const body = limitedBody(request, maxBytes);
  try {
    return new Uint8Array(await new Response(body.stream).arrayBuffer());
  } catch (error) {
    throw body.exceeded() ?? error;
  }
}

function tooLarge(size: string, maxBytes: number): ApiError {
  return new ApiError(413, "payload_too_large", `The request body is ${size}; the limit is ${maxBytes} bytes`);
}
