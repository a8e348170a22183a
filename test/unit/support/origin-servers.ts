/** Servers behind bindings, answered by the test: what the gateway sent to each, and with which headers. */
import type { OriginConfig } from "../../../src/origin/origins-config.ts";

export interface SentRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
}

export class OriginServer {
  readonly requests: SentRequest[] = [];
  /** Throws, as a connection that is refused does. */
  answer: (request: SentRequest) => Response | Promise<Response> = () => Response.json({});

  /** The paths asked, in their order. */
  get asked(): string[] {
    return this.requests.map(({ url }) => new URL(url).pathname);
  }

  serve(models: Record<string, string | undefined>): void {
    const data = Object.entries(models).map(([id, value]) => ({
      id,
      ...(value !== undefined && { status: { value } }),
    }));
    this.answer = ({ url }) => {
      const { pathname } = new URL(url);
      if (pathname === "/health") return Response.json({ status: "ok" });
      return pathname === "/v1/models" ? Response.json({ object: "list", data }) : Response.json({ from: url });
    };
  }

  die(): void {
    this.answer = () => {
      throw new Error("Network connection lost.");
    };
  }

  config(name: string, more: Partial<OriginConfig> = {}): OriginConfig {
    const fetch = async (url: string, { method = "GET", headers }: RequestInit = {}) => {
      const request = { url, method, headers: new Headers(headers) };
      this.requests.push(request);
      return await this.answer(request);
    };
    const url = `http://${name}.test`;
    return { name, url, via: { fetch }, models: [], weight: 1, apiKey: undefined, access: undefined, ...more };
  }
}
