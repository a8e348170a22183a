/**
 * A TCP proxy that breaks connections in the ways networks do, and remembers what was asked through it.
 *
 *   client ──upstream──▶ proxy ──▶ server
 *          ◀─downstream─       ◀──
 *
 * Faults apply to the connections of now and to those to come; `{}` is a good network.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import type { Random } from "./random.ts";

/**
 * FIN to both sides, RST to both, FIN to the client while the server notices nothing (`half`), or silence: both sides believe
 * in a connection on which nothing comes any more.
 */
export type Cut = "fin" | "rst" | "half" | "silence";

export interface Faults {
  /** Each connection is cut after a number of downstream bytes from this range. */
  cutAfterBytes?: readonly [least: number, most: number];
  /** The cut comes so long after the last byte. */
  cutDelayMs?: number;
  /** How a connection is cut; of several, by chance. */
  how?: Cut | readonly Cut[];
  /** Each downstream piece comes this much later. */
  delayMs?: number;
  /** Downstream bytes are handed on one write each. */
  bytesPerWrite?: number;
  /** Nothing passes, in either direction; connections stay open. */
  isStalled?: boolean;
  /** New connections are reset. */
  isRefusing?: boolean;
}

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

export class FaultProxy {
  faults: Faults = {};
  /** Connections cut on purpose. */
  cuts = 0;
  /** Bytes handed on to clients. */
  downstreamBytes = 0;
  /** Connections that were tried. */
  connections = 0;
  readonly #server: Server;
  readonly #targetPort: number;
  readonly #random: Random;
  readonly #open = new Set<Socket>();
  readonly #upstream: Buffer[][] = [];

  private constructor(server: Server, targetPort: number, random: Random) {
    this.#server = server;
    this.#targetPort = targetPort;
    this.#random = random;
    server.on("connection", (client) => void this.#relay(client));
  }

  static async start(targetUrl: string, random: Random): Promise<FaultProxy> {
    const server = createServer({ allowHalfOpen: true });
    const proxy = new FaultProxy(server, Number(new URL(targetUrl).port), random);
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Everything that was asked, in the order in which connections were made. */
  get requests(): SeenRequest[] {
    return this.#upstream.flatMap((chunks) => parseRequests(Buffer.concat(chunks).toString("latin1")));
  }

  /** Cuts all connections of now. */
  cutAll(how: "fin" | "rst" = "rst"): void {
    for (const socket of this.#open) end(socket, how);
  }

  async close(): Promise<void> {
    this.cutAll();
    await new Promise((done) => this.#server.close(done));
  }

  async #relay(client: Socket): Promise<void> {
    this.connections += 1;
    if (this.faults.isRefusing) {
      client.resetAndDestroy();
      return;
    }
    const server = connect({ port: this.#targetPort, host: "127.0.0.1", allowHalfOpen: true });
    this.#tie(client, server);
    this.#tie(server, client);
    await Promise.all([this.#passUpstream(client, server), this.#passDownstream(server, client)]);
  }

  /** When one side's connection is gone, so is the other's. */
  #tie(socket: Socket, other: Socket): void {
    socket.setNoDelay(true);
    this.#open.add(socket);
    // "close" follows.
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#open.delete(socket);
      other.destroy();
    });
  }

  async #passUpstream(client: Socket, server: Socket): Promise<void> {
    const seen: Buffer[] = [];
    this.#upstream.push(seen);

    try {
      for await (const chunk of client) {
        seen.push(chunk);
        await this.#whileStalled(client);
        await write(server, chunk);
      }
      server.end();
    } catch {
      // The connection was cut, by us or by one of the two.
      server.destroy();
    }
  }

  async #passDownstream(server: Socket, client: Socket): Promise<void> {
    let left = this.#bytesUntilCut();
    try {
      for await (const chunk of server as AsyncIterable<Buffer>) {
        await this.#whileStalled(server);
        if (this.faults.delayMs) await pause(this.faults.delayMs);
        // Faults may have been switched on since the connection was made.
        left = Math.min(left, left === Number.POSITIVE_INFINITY ? this.#bytesUntilCut() : left);
        const part = chunk.subarray(0, left);
        const step = this.faults.bytesPerWrite ?? part.length;
        for (let at = 0; at < part.length; at += step) await write(client, part.subarray(at, at + step));
        left -= part.length;
        this.downstreamBytes += part.length;
        if (left > 0) continue;
        this.cuts += 1;
        if (this.faults.cutDelayMs) await pause(this.faults.cutDelayMs);
        const how = this.#cut();
        if (how === "silence") return await gone(client);
        end(client, how);
        if (how !== "half") end(server, how);
        return;
      }
      client.end();
    } catch {
      client.destroy();
    }
  }

  #cut(): Cut {
    const { how = "rst" } = this.faults;
    return typeof how === "string" ? how : (how[this.#random.between(0, how.length - 1)] ?? "rst");
  }

  #bytesUntilCut(): number {
    const { cutAfterBytes } = this.faults;
    return cutAfterBytes ? this.#random.between(...cutAfterBytes) : Number.POSITIVE_INFINITY;
  }

  async #whileStalled(socket: Socket): Promise<void> {
    while (this.faults.isStalled && !socket.destroyed) await pause(5);
  }
}

function end(socket: Socket, how: Exclude<Cut, "silence">): void {
  if (how === "rst") socket.resetAndDestroy();
  else if (how === "half") socket.end();
  else socket.destroy();
}

function gone(socket: Socket): Promise<void> {
  return new Promise((done) => {
    if (socket.destroyed) done();
    else socket.once("close", () => done());
  });
}

function write(socket: Socket, chunk: Buffer): Promise<void> {
  return new Promise((done, fail) => socket.write(chunk, (error) => (error ? fail(error) : done())));
}

/** HTTP/1.1 requests with a Content-Length, one behind the other; one that was cut off in the middle is left out. */
function parseRequests(text: string): SeenRequest[] {
  const requests: SeenRequest[] = [];
  for (let at = 0; ; ) {
    const headEnd = text.indexOf("\r\n\r\n", at);
    if (headEnd < 0) return requests;
    const [first = "", ...lines] = text.slice(at, headEnd).split("\r\n");
    const headers = new Map(
      lines.map((line) => [line.split(":")[0]?.toLowerCase() ?? "", line.replace(/^[^:]*: */, "")]),
    );
    const bodyEnd = headEnd + 4 + Number(headers.get("content-length") ?? 0);
    if (bodyEnd > text.length) return requests;
    const [method = "", path = ""] = first.split(" ");
    requests.push({ method, path, headers, body: text.slice(headEnd + 4, bodyEnd) });
    at = bodyEnd;
  }
}
