/**
 * Other ways to the same end, and gateways without it, under the same load. They live in bench/peers with a lock file of
 * their own; redis-server and nginx are Debian's.
 *
 *   resumable-stream  a library around one answer: Redis carries it to further readers, nothing of it is durable
 *   durable-streams   a server of append-only logs (Node, files): replay, live readers, durable
 *   portkey           an AI gateway (Node): no resume. On @hono/node-server 1.12.2, because with the newest that it
 *                     allows it answers every stream with 500
 *   nginx             a proxy without buffering: no resume
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../tools/ports.ts";
import type { Bench } from "./bench.ts";
import { chatCall, type Start, untilAnswers } from "./contestants.ts";
import { Child, findProgram, Helper, pinGateway } from "./processes.ts";

export interface Peer {
  readonly start: Start;
  /** The answer goes on without its client, and others can follow it. */
  readonly canResume: boolean;
  /** An answer that is over can be read again. */
  readonly canReplay: boolean;
}

const FOLDER = join(import.meta.dirname, "peers");

/** Those that can be had on this machine; of the others it says why not. */
export async function startablePeers(bench: Bench): Promise<Peer[]> {
  const peers: Peer[] = [];
  const nginx = findProgram("nginx");
  if (nginx) peers.push({ start: startNginx(nginx), canResume: false, canReplay: false });
  else bench.say("no nginx on PATH: left out");

  if (!installPackages(bench)) return peers;
  peers.unshift({ start: startDurableStreams, canResume: true, canReplay: true });
  peers.push({ start: startPortkey, canResume: false, canReplay: false });
  const redis = findProgram("redis-server");
  if (redis) peers.unshift({ start: startResumableStream(redis), canResume: true, canReplay: false });
  else bench.say("no redis-server on PATH: resumable-stream is left out");
  return peers;
}

function installPackages(bench: Bench): boolean {
  if (isInstalled()) return true;
  bench.say("installing bench/peers (npm install)");
  // Not `npm ci`: it wants packages of other platforms in the lock file too, which not every registry has.
  const flags = ["--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  const { status, stderr, error } = spawnSync("npm", ["install", ...flags], { cwd: FOLDER, encoding: "utf8" });
  if (status === 0) return true;
  const said = error?.message ?? stderr.trim().split("\n").slice(0, 3).join(" ");
  bench.complain(`cannot install bench/peers, npm's peers are left out: ${said}`);
  return false;
}

function isInstalled(): boolean {
  const installed = join(FOLDER, "node_modules/.package-lock.json");
  if (!existsSync(installed)) return false;
  const there = packagesOf(installed);
  const wanted = Object.entries(packagesOf(join(FOLDER, "package-lock.json")));
  return wanted.every(
    ([path, { version, optional }]) => path === "" || optional === true || there[path]?.version === version,
  );
}

function packagesOf(lock: string): Record<string, { version?: string; optional?: boolean }> {
  return JSON.parse(readFileSync(lock, "utf8")).packages;
}

function startResumableStream(redis: string): Start {
  return async (origin) => {
    const redisPort = await freePort();
    const server = new Child(redis, [
      ...["--port", String(redisPort), "--bind", "127.0.0.1"],
      ...["--save", "", "--appendonly", "no", "--dir", "/tmp"],
    ]);
    pinGateway(server.pid);
    const port = await freePort();
    const helper = new Helper("peers/resumable-stream.mjs", {
      args: [String(port), origin],
      env: { REDIS_URL: `redis://127.0.0.1:${redisPort}` },
    });
    await helper.ready;
    pinGateway(helper.pid);
    const base = `http://127.0.0.1:${port}`;
    return {
      name: "resumable-stream",
      pids: [helper.pid, server.pid],
      isOnce: true,
      post: (id, answer) => chatCall(base, id, answer),
      read: (id) => ({ method: "GET", url: `${base}/`, headers: { "X-Conversation-Id": id } }),
      async stop() {
        await Promise.all([helper.kill(), server.kill()]);
      },
    };
  };
}

const startDurableStreams: Start = async (origin, storage) => {
  const port = await freePort();
  const helper = new Helper("peers/durable-streams.mjs", { args: [String(port), origin, storage] });
  await helper.ready;
  pinGateway(helper.pid);
  const base = `http://127.0.0.1:${port}`;
  const stream = (id: string) => `http://127.0.0.1:${port + 1}/${id}?offset=-1`;
  return {
    name: "durable-streams",
    pids: [helper.pid],
    isOnce: true,
    // Its store keeps as many files open, closes the oldest, and then fails to flush that one.
    mostLive: 100,
    post: (id, answer) => ({
      ...chatCall(base, id, answer),
      andThen: { method: "GET", url: `${stream(id)}&live=sse`, headers: {} },
    }),
    read: (id) => ({ method: "GET", url: `${stream(id)}&live=sse`, headers: {} }),
    replay: (id) => ({ method: "GET", url: stream(id), headers: {} }),
    stop: () => helper.kill(),
  };
};

const startPortkey: Start = async (origin) => {
  const port = await freePort();
  const script = join(FOLDER, "node_modules/@portkey-ai/gateway/build/start-server.js");
  const child = new Child(process.execPath, [script, `--port=${port}`, "--headless"]);
  const base = `http://127.0.0.1:${port}`;
  await untilAnswers(base, child);
  pinGateway(child.pid);
  const headers = {
    "x-portkey-provider": "openai",
    "x-portkey-custom-host": `${origin}/v1`,
    Authorization: "Bearer x",
  };
  return {
    name: "portkey",
    pids: [child.pid],
    post: (id, answer) => chatCall(base, id, answer, headers),
    stop: () => child.kill(),
  };
};

function startNginx(nginx: string): Start {
  return async (origin, storage) => {
    const port = await freePort();
    const config = join(storage, "nginx.conf");
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
      .map((kind) => `${kind}_temp_path ${join(storage, kind)};`)
      .join("\n  ");
    writeFileSync(
      config,
      `daemon off;
master_process off;
worker_processes 1;
pid ${join(storage, "nginx.pid")};
error_log stderr error;
events { worker_connections 8192; }
http {
  access_log off;
  ${temporary}
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass ${origin};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 600s;
    }
  }
}
`,
    );
    const child = new Child(nginx, ["-c", config, "-p", storage]);
    const base = `http://127.0.0.1:${port}`;
    await untilAnswers(base, child);
    pinGateway(child.pid);
    return {
      name: "nginx",
      pids: [child.pid],
      post: (id, answer) => chatCall(base, id, answer),
      stop: () => child.kill(),
    };
  };
}
