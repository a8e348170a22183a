/**
 * A registry of npm's that has one package: the binary of workerd for this machine. What it sends is a script that becomes
 * the binary which is here already.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { workerdBeside } from "../../tools/workerd.ts";
import type { WorkerdLock } from "../../tools/workerd-lock.ts";
import { pinnedWorkerd } from "./installed-package.ts";

const NAME = "@cloudflare/workerd-for-tests";
const WORKS = `#!/bin/sh\nexec '${workerdBeside()}' "$@"\n`;

export class WorkerdRegistry {
  readonly url: string;
  /** What lib/workerd-lock.json of a package says that is to install from here. */
  readonly lock: WorkerdLock;
  /** How often the binary was asked for. */
  downloads = 0;
  /** Connections on which the binary was asked for, and that are open. */
  waiting = 0;
  readonly #server: Server;
  readonly #held: ServerResponse[] = [];
  readonly #tarball: Buffer;
  #isHolding = false;

  /** @param script what the binary is. */
  static async start(script = WORKS): Promise<WorkerdRegistry> {
    const server = createServer();
    await once(server.listen(0, "127.0.0.1"), "listening");
    return new WorkerdRegistry(server, tarballOf(script));
  }

  private constructor(server: Server, tarball: Buffer) {
    const address = server.address();
    this.url = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
    const version = pinnedWorkerd();
    const integrity = `sha512-${createHash("sha512").update(tarball).digest("base64")}`;
    const binary = { version, integrity, os: [process.platform], cpu: [process.arch] };
    this.lock = { version, binaries: { [NAME]: binary } };
    this.#tarball = tarball;
    this.#server = server;
    server.on("request", ({ url = "" }, answer) => this.#answer(decodeURIComponent(url), answer));
  }

  /** From now on the binary is not sent, until `release()`. */
  hold(): void {
    this.#isHolding = true;
  }

  release(): void {
    this.#isHolding = false;
    for (const answer of this.#held.splice(0)) answer.end(this.#tarball);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  #answer(path: string, answer: ServerResponse): void {
    if (path === `/${NAME}`) {
      const { version } = this.lock;
      const dist = { tarball: `${this.url}/workerd.tgz` };
      const versions = { [version]: { name: NAME, version, dist } };
      answer.setHeader("content-type", "application/json");
      answer.end(JSON.stringify({ name: NAME, versions, "dist-tags": { latest: version } }));
    } else if (path === "/workerd.tgz") {
      this.downloads++;
      this.waiting++;
      answer.once("close", () => this.waiting--);
      if (this.#isHolding) this.#held.push(answer);
      else answer.end(this.#tarball);
    } else {
      // A ping: that it is answered counts.
      answer.end("{}");
    }
  }
}

function tarballOf(script: string): Buffer {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-registry-"));
  try {
    mkdirSync(join(folder, "package/bin"), { recursive: true });
    writeFileSync(join(folder, "package/package.json"), JSON.stringify({ name: NAME, version: pinnedWorkerd() }));
    writeFileSync(join(folder, "package/bin/workerd"), script);
    chmodSync(join(folder, "package/bin/workerd"), 0o755);
    execFileSync("tar", ["-czf", join(folder, "workerd.tgz"), "-C", folder, "package"]);
    return readFileSync(join(folder, "workerd.tgz"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
