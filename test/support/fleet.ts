/**
 * A gateway before several origins, each behind a proxy of its own that sees what it is asked and can fail:
 *
 *   client ──▶ gateway (workerd) ─┬─▶ proxy ──▶ origin
 *                                 └─▶ proxy ──▶ origin …
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Gateway, type GatewayOptions, startGateway } from "../../tools/gateway.ts";
import { workerBundle } from "./bundle.ts";
import { FaultProxy } from "./fault-proxy.ts";
import { type Answer, send } from "./http.ts";
import { startOrigin, type TestOrigin, type TestOriginOptions } from "./origin.ts";
import { Random } from "./random.ts";
import { KEY, type LookupRow } from "./site.ts";

export interface FleetLookupRow extends LookupRow {
  origin: string | null;
}

export interface FleetOptions {
  origins: Readonly<Record<string, TestOriginOptions>>;
  /** Further fields of an origin in ORIGINS. */
  fields?: Readonly<Record<string, object>>;
  vars?: Record<string, string>;
  secrets?: Record<string, string>;
  /** Name of a binding → the origin that it leads to. */
  bindings?: Readonly<Record<string, string>>;
}

interface Member {
  origin: TestOrigin;
  readonly proxy: FaultProxy;
}

export class Fleet {
  readonly #options: FleetOptions;
  readonly #members: ReadonlyMap<string, Member>;
  readonly #storage: string;
  #gateway: Gateway;

  private constructor(options: FleetOptions, members: Map<string, Member>, storage: string, gateway: Gateway) {
    this.#options = options;
    this.#members = members;
    this.#storage = storage;
    this.#gateway = gateway;
  }

  static async start(options: FleetOptions): Promise<Fleet> {
    const members = new Map<string, Member>();
    for (const [name, originOptions] of Object.entries(options.origins)) {
      const origin = await startOrigin(originOptions);
      members.set(name, { origin, proxy: await FaultProxy.start(origin.url, new Random()) });
    }
    const storage = await mkdtemp(join(tmpdir(), "holdfast-fleet-"));
    const gateway = await startGateway(await gatewayOptions(options, members, storage, [...members.keys()]));
    return new Fleet(options, members, storage, gateway);
  }

  get logs(): string {
    return this.#gateway.logs();
  }

  /** The origin's proxy: what was asked of it, and its faults. */
  proxy(name: string): FaultProxy {
    return this.#member(name).proxy;
  }

  origin(name: string): TestOrigin {
    return this.#member(name).origin;
  }

  /** As by `kill -9`: its connections are cut, and new ones refused. */
  async kill(name: string): Promise<void> {
    const { proxy, origin } = this.#member(name);
    await origin.kill();
    proxy.cutAll();
  }

  /** A new one at the same place, which remembers nothing. */
  async revive(name: string): Promise<void> {
    const member = this.#member(name);
    const port = Number(new URL(member.origin.url).port);
    member.origin = await startOrigin({ ...this.#options.origins[name], port });
  }

  /** SIGKILL, and a new process on the same storage; `names`: the origins in its configuration. */
  async restartGateway(names = [...this.#members.keys()]): Promise<void> {
    await this.#gateway.kill();
    this.#gateway = await startGateway(await gatewayOptions(this.#options, this.#members, this.#storage, names));
  }

  /** A POST; with an `id` on a conversation. */
  async post(id: string | undefined, body: object, headers: Record<string, string> = {}): Promise<Answer> {
    const conversation = id === undefined ? {} : { "x-conversation-id": id };
    const url = `${this.#gateway.url}/v1/chat/completions`;
    return await send("POST", url, { headers: { ...AUTH, ...conversation, ...headers }, body }).answer;
  }

  async get(path: string, key = KEY): Promise<Answer> {
    return await send("GET", this.#gateway.url + path, { headers: { authorization: `Bearer ${key}` } }).answer;
  }

  async replay(id: string): Promise<string> {
    const answer = await this.get(`/v1/stream?conv_id=${encodeURIComponent(id)}`);
    return (await answer.whole(60_000)).toString();
  }

  async stop(id: string): Promise<void> {
    const url = `${this.#gateway.url}/v1/stream?conv_id=${encodeURIComponent(id)}`;
    await send("DELETE", url, { headers: AUTH }).answer;
  }

  async row(id: string): Promise<FleetLookupRow | undefined> {
    const url = `${this.#gateway.url}/v1/streams/lookup`;
    const answer = await send("POST", url, { headers: AUTH, body: { conversation_ids: [id] } }).answer;
    return ((await answer.json()) as FleetLookupRow[])[0];
  }

  async close(): Promise<void> {
    await this.#gateway.kill();
    for (const { origin, proxy } of this.#members.values()) {
      await proxy.close();
      await origin.kill();
    }
    await rm(this.#storage, { recursive: true, force: true });
  }

  #member(name: string): Member {
    const member = this.#members.get(name);
    if (!member) throw new Error(`The fleet has no origin ${name}`);
    return member;
  }
}

const AUTH = { authorization: `Bearer ${KEY}` };

async function gatewayOptions(
  { fields = {}, vars, secrets, bindings = {} }: FleetOptions,
  members: ReadonlyMap<string, Member>,
  storage: string,
  names: readonly string[],
): Promise<GatewayOptions> {
  const urlOf = (name: string) => members.get(name)?.proxy.url ?? "";
  const origins = names.map((name) => ({ name, url: urlOf(name), ...fields[name] }));
  return {
    bundle: await workerBundle(),
    origin: urlOf(names[0] ?? ""),
    apiKeys: `alice=${KEY}`,
    storage,
    vars: { ...vars, ORIGINS: JSON.stringify(origins) },
    secrets,
    services: Object.fromEntries(Object.entries(bindings).map(([binding, name]) => [binding, urlOf(name)])),
  };
}

/** The origin that answered: the last one in the header. */
export function originOf(answer: Answer): string {
  return String(answer.headers["holdfast-origin"]).split(", ").at(-1) ?? "";
}
