/** The gateway that served this page, asked with one key. */
import { type AnswerState, createResumingFetch, type LookupRow, type ResumingFetch } from "../src/client/index.ts";

export interface Model {
  id: string;
}

/** An answer that is not 2xx, with what the gateway says about it. */
export class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export class Gateway {
  readonly key: string;
  readonly #fetch: ResumingFetch;

  constructor(key: string) {
    this.key = key;
    this.#fetch = createResumingFetch({ url: location.origin, apiKey: key });
  }

  /** A fetch of its own for each answer, so that what it says of its state is about that answer. */
  fetchFor(onState: (state: AnswerState) => void): ResumingFetch {
    return createResumingFetch({ url: location.origin, apiKey: this.key, onState });
  }

  async lookup(ids: readonly string[], signal?: AbortSignal): Promise<LookupRow[]> {
    return await this.#fetch.lookup(ids, signal ? { signal } : {});
  }

  async models(): Promise<Model[]> {
    const list = await this.get("/v1/models");
    const data = isRecord(list) && Array.isArray(list.data) ? list.data : [];
    return data.flatMap((model: unknown) =>
      isRecord(model) && typeof model.id === "string" ? [{ id: model.id }] : [],
    );
  }

  /** Whether the model takes pictures; llama-server says so in its `/props`. */
  async takesImages(model: string | undefined): Promise<boolean> {
    const query = model ? `?model=${encodeURIComponent(model)}&autoload=false` : "";
    try {
      const props = await this.get(`/props${query}`);
      return isRecord(props) && isRecord(props.modalities) && props.modalities.vision === true;
    } catch {
      // A server without /props, or one that is away: pictures are not offered.
      return false;
    }
  }

  async get(path: string): Promise<unknown> {
    return await this.send("GET", path);
  }

  /** Any JSON route. Throws a `Refusal`, or what `fetch` throws. */
  async send(method: string, path: string, body?: unknown): Promise<unknown> {
    const init: RequestInit = { method, headers: { Authorization: `Bearer ${this.key}` }, cache: "no-store" };
    if (body !== undefined) {
      init.body = JSON.stringify(body);
      init.headers = { ...init.headers, "Content-Type": "application/json" };
    }
    const response = await fetch(path, init);
    if (!response.ok) throw await refusalOf(response);
    return response.status === 204 ? undefined : await response.json();
  }
}

async function refusalOf(response: Response): Promise<Refusal> {
  const { message } = await errorIn(response);
  return new Refusal(response.status, message);
}

/** llama-server's error shape; anything else is told by its status. */
export async function errorIn(response: Response): Promise<{ type: string; message: string }> {
  try {
    const body: unknown = await response.json();
    const error = isRecord(body) && isRecord(body.error) ? body.error : {};
    return { type: String(error.type ?? ""), message: String(error.message ?? `status ${response.status}`) };
  } catch {
    return { type: "", message: `status ${response.status}` };
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
