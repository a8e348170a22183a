/**
 * As much of Cloudflare's API as `npm run setup` needs of it through the real wrangler: one account, and Workers whose
 * variables and secrets are kept as Cloudflare keeps them.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { buffer } from "node:stream/consumers";

const ACCOUNT = "account";
/** What Cloudflare answers for a Worker that does not exist. */
const NO_WORKER = { code: 10007, message: "This Worker does not exist on your account." };

interface Binding {
  name: string;
  type: string;
  text?: string;
}

interface Upload {
  bindings: Binding[];
  keep_bindings?: string[];
}

export interface FakeCloudflare {
  /** For wrangler. */
  env: Record<string, string>;
  /** By their names, the bindings of the Worker as it was deployed last. */
  bindings(worker: string): ReadonlyMap<string, Binding>;
  /** Each call that changed something. */
  writes: string[];
  close(): void;
}

export async function startFakeCloudflare(): Promise<FakeCloudflare> {
  const workers = new Map<string, Map<string, Binding>>();
  const writes: string[] = [];
  const server = createServer((request, response) => void answer(request, response));
  await once(server.listen(0, "127.0.0.1"), "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? "", "http://api");
    const body = await buffer(request);
    if (request.method !== "GET") writes.push(`${request.method} ${pathname}`);
    const result = resultOf(`${request.method} ${pathname.replace(`/accounts/${ACCOUNT}`, "")}`, body, request);
    response.setHeader("content-type", "application/json");
    response.writeHead(result === undefined ? 404 : 200);
    const errors = result === undefined ? [NO_WORKER] : [];
    response.end(JSON.stringify({ success: result !== undefined, errors, messages: [], result: result ?? null }));
  }

  function resultOf(call: string, body: Buffer, request: IncomingMessage): unknown {
    const account = { id: ACCOUNT, name: "Me" };
    const fixed: Record<string, unknown> = {
      "GET /user/tokens/verify": { id: "token", status: "active" },
      "GET /user": { email: "me@example.com" },
      "GET /accounts": [account],
      "GET /memberships": [{ account }],
      "GET /workers/subdomain": { subdomain: "me" },
    };
    if (call in fixed) return fixed[call];
    const [, what = "", name = "", rest = ""] = /^(\S+ \/workers\/\w+)\/([\w-]+)(.*)$/.exec(call) ?? [];
    if (what === "PUT /workers/scripts") return upload(name, body, request.headers["content-type"] ?? "");
    const worker = workers.get(name);
    if (worker === undefined) return undefined;
    const secrets = [...worker.values()].filter(({ type }) => type === "secret_text");
    if (rest === "/secrets") return secrets.map(({ name, type }) => ({ name, type }));
    if (rest === "/subdomain" || what === "GET /workers/workers") {
      const subdomain = { enabled: true, previews_enabled: true };
      return rest === "" ? { subdomain } : subdomain;
    }
    if (rest === "/deployments") return { deployments: [] };
    if (what === "GET /workers/services")
      return { default_environment: { script: { last_deployed_from: "wrangler" } } };
    return {};
  }

  /** What is named takes the place of what was there; of the rest the kinds that are to be kept stay. */
  function upload(name: string, body: Buffer, contentType: string): unknown {
    const [, boundary = ""] = /boundary=(.*)$/.exec(contentType) ?? [];
    const parts = body.toString("latin1").split(`--${boundary}`);
    const metadata = parts.find((part) => part.includes('name="metadata"'))?.split("\r\n\r\n")[1] ?? "{}";
    const { bindings, keep_bindings = [] }: Upload = JSON.parse(metadata);
    const kept = [...(workers.get(name)?.values() ?? [])].filter(({ type }) => keep_bindings.includes(type));
    workers.set(name, new Map([...kept, ...bindings].map((binding) => [binding.name, binding])));
    return { id: name, etag: "etag", deployment_id: "deployment", startup_time_ms: 1 };
  }

  return {
    env: {
      CLOUDFLARE_API_BASE_URL: `http://127.0.0.1:${port}`,
      CLOUDFLARE_API_TOKEN: "token",
      CLOUDFLARE_ACCOUNT_ID: ACCOUNT,
    },
    bindings: (worker) => workers.get(worker) ?? new Map(),
    writes,
    close: () => server.close(),
  };
}
