/** The guided deployment, with a script in wrangler's place and a small server in the gateway's. */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NO_NETWORK, ROOT, WRANGLER } from "../../tools/bundle.ts";
import { deploy, requireLogin } from "../../tools/setup/cloudflare.ts";
import { originSettings, withOrigins } from "../../tools/setup/origins.ts";
import { type SetupOptions, setup } from "../../tools/setup/setup.ts";
import { type Surroundings, showWrangler } from "../../tools/setup/surroundings.ts";
import { tunnel } from "../../tools/setup/tunnel.ts";
import { type FakeCloudflare, startFakeCloudflare } from "../support/fake-cloudflare.ts";

const ORIGIN = "https://llama.example.com";
const EVENT = 'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n';

/** Keeps secrets as Cloudflare does: their names can be listed, their values cannot. */
const FAKE_WRANGLER = `#!/usr/bin/env node
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
const args = process.argv.slice(2);
appendFileSync("asked", args.join(" ") + "\\n");
const secrets = existsSync("secrets.json") ? JSON.parse(readFileSync("secrets.json", "utf8")) : undefined;
if (args[0] === "whoami") {
  console.log(JSON.stringify(existsSync("logged-in") ? { loggedIn: true, email: "me@example.com" } : { loggedIn: false }));
  process.exit(existsSync("logged-in") ? 0 : 1);
}
if (args[0] === "secret") {
  if (secrets === undefined) {
    console.error('Worker "holdfast" not found.');
    process.exit(1);
  }
  console.log(JSON.stringify(Object.keys(secrets).map((name) => ({ name, type: "secret_text" }))));
}
if (args[0] === "deploy") {
  const given = JSON.parse(readFileSync(args[args.indexOf("--secrets-file") + 1], "utf8"));
  writeFileSync("secrets.json", JSON.stringify({ ...secrets, ...given }));
  const target = readFileSync("address", "utf8");
  writeFileSync(process.env.WRANGLER_OUTPUT_FILE_PATH, JSON.stringify({ type: "deploy", targets: [target] }) + "\\n");
}
`;

let root: string;
let said: string;
let gateway: Server;
let requests: string[];
let answer: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "holdfast-setup-test-"));
  said = "";
  requests = [];
  answer = `${EVENT}data: [DONE]\n\n`;
  copyFileSync(join(ROOT, "wrangler.toml"), join(root, "wrangler.toml"));
  writeFileSync(join(root, "wrangler.mjs"), FAKE_WRANGLER);
  writeFileSync(join(root, "logged-in"), "");
  gateway = createServer((request, response) => {
    requests.push(`${request.method} ${request.url?.split("?")[0]}`);
    if (request.url === "/health") return void response.end('{"status":"ok"}');
    const allowed = isAllowed(request);
    response.writeHead(allowed ? 200 : 401, { "content-type": allowed ? "text/event-stream" : "application/json" });
    response.end(allowed ? answer : '{"error":{"code":401,"message":"Invalid API Key","type":"authentication_error"}}');
  });
  await new Promise<void>((done) => gateway.listen(0, "127.0.0.1", done));
  const address = gateway.address();
  writeFileSync(join(root, "address"), `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`);
});
afterEach(async () => {
  gateway.close();
  await rm(root, { recursive: true, force: true });
});

/** By the secrets that were set. */
function isAllowed({ headers }: IncomingMessage): boolean {
  return deployedSecrets().API_KEYS === `default=${headers.authorization?.replace("Bearer ", "")}`;
}

function deployedSecrets(): Record<string, string> {
  const file = join(root, "secrets.json");
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {};
}

function asked(): string[] {
  const file = join(root, "asked");
  return existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [];
}

async function run(options: Partial<SetupOptions> = {}, answers?: string[]): Promise<void> {
  const all = { worker: "holdfast", origins: [], url: undefined, key: undefined, dryRun: false, ...options };
  await setup(all, {
    root,
    state: join(root, "state"),
    wrangler: [process.execPath, join(root, "wrangler.mjs")],
    env: process.env,
    ask: answers && (async () => answers.shift() ?? ""),
    say(line) {
      said += `${line}\n`;
    },
    terminal: "ignore",
  });
}

const GIVEN = { origins: [{ name: "default", url: ORIGIN, key: "llama-key" }] };

describe("npm run setup", () => {
  it("makes the keys, deploys, streams one answer, and prints how to use it", async () => {
    await run(GIVEN);
    expect(readFileSync(join(root, "wrangler.toml"), "utf8")).toContain(`ORIGIN_URL = "${ORIGIN}"`);
    const secrets = deployedSecrets();
    expect(Object.keys(secrets).sort()).toEqual(["ADMIN_KEY", "API_KEYS", "KEY_SECRET", "ORIGIN_API_KEY"]);
    expect(requests).toEqual(["GET /health", "POST /v1/chat/completions", "DELETE /v1/stream"]);
    const key = secrets.API_KEYS?.replace("default=", "") ?? "";
    const address = readFileSync(join(root, "address"), "utf8");
    expect(said).toContain(`${address}/#key=${key}`);
    expect(said).toContain(`curl -N ${address}/v1/chat/completions -H "Authorization: Bearer ${key}"`);
    expect(said).toContain(`npm run key -- add NAME --url ${address} --storage state`);
    expect(said).toContain("▄");
    for (const file of readdirSync(join(root, "state"))) {
      expect(statSync(join(root, "state", file)).mode & 0o077).toBe(0);
    }
  });

  it("run again, without the origin, changes no secret and no key", async () => {
    await run(GIVEN);
    const before = deployedSecrets();
    await run();
    expect(deployedSecrets()).toEqual(before);
    expect(said).toContain("API_KEYS is set already: left as it is");
    expect(requests.filter((request) => request.startsWith("POST"))).toHaveLength(2);
  });

  it("leaves keys that somebody else set, and wants one of them to check with", async () => {
    writeFileSync(join(root, "secrets.json"), JSON.stringify({ API_KEYS: "default=a-key-of-somebody" }));
    await expect(run(GIVEN)).rejects.toThrow("Give one: HOLDFAST_KEY=KEY");
    await run({ ...GIVEN, key: "a-key-of-somebody" });
    expect(deployedSecrets().API_KEYS).toBe("default=a-key-of-somebody");
    await expect(run({ ...GIVEN, key: "another" })).rejects.toThrow(/answered 401.*\n.*HOLDFAST_KEY=KEY/);
  });

  it("asks for what it is not given, and again where that cannot be", async () => {
    await run({}, ["http://localhost:8080", "", `${ORIGIN}/`, "llama-key"]);
    expect(deployedSecrets().ORIGIN_API_KEY).toBe("llama-key");
    expect(readFileSync(join(root, "wrangler.toml"), "utf8")).toContain(`ORIGIN_URL = "${ORIGIN}"`);
  });

  it("asks for several llama-servers, which then stand in wrangler.toml for the next time", async () => {
    await run({}, [
      ORIGIN,
      "key-1",
      "cellar=https://cellar.example.com",
      "key-2",
      "CELLAR=https://x.example.com",
      "",
      "",
    ]);
    expect(said).not.toContain("key-1");
    expect(deployedSecrets()).toMatchObject({ ORIGIN_DEFAULT_KEY: "key-1", ORIGIN_CELLAR_KEY: "key-2" });
    const toml = readFileSync(join(root, "wrangler.toml"), "utf8");
    expect(toml).toMatch(/^ORIGINS = '\[\{"name":"default",.*cellar\.example\.com".*\]'$/m);
    await run();
    expect(readFileSync(join(root, "wrangler.toml"), "utf8")).toBe(toml);
    expect(said).toContain('as in wrangler.toml: [{"name":"default"');
  });

  it("deploys to a domain of one's own too, and checks there", async () => {
    const url = readFileSync(join(root, "address"), "utf8");
    writeFileSync(join(root, "address"), "https://holdfast.me.workers.dev");
    await run({ ...GIVEN, url });
    expect(asked().filter((args) => args.startsWith("deploy"))).toHaveLength(1);
    expect(said).toContain(`gateway   ${url}`);
  });

  it("says what to do where nobody is logged in, before it changes anything", async () => {
    await rm(join(root, "logged-in"));
    await expect(run(GIVEN)).rejects.toThrow("npx wrangler login");
    expect(asked()).toEqual(["whoami --json"]);
    expect(existsSync(join(root, "state"))).toBe(false);
  });

  it("fails where the answer breaks off, and says how it ended", async () => {
    answer = `${EVENT}data: {"error":{"code":502,"message":"gone"}}\n\n`;
    await expect(run(GIVEN)).rejects.toThrow(/broke off. Its end: .*gone/s);
  });

  it("--dry-run names each step, asks nobody, and changes nothing", async () => {
    const before = readFileSync(join(root, "wrangler.toml"), "utf8");
    await run({ ...GIVEN, dryRun: true });
    expect(said.match(/^[1-6]\. /gm)).toHaveLength(6);
    await run({ dryRun: true }, []);
    expect(said).toContain("would ask for its address and its key; as an example:\n   https://llama.example.com");
    expect(asked()).toEqual([]);
    expect(readFileSync(join(root, "wrangler.toml"), "utf8")).toBe(before);
    expect(existsSync(join(root, "state"))).toBe(false);
  });
});

describe("npm run setup, with the pinned wrangler and a stand-in for Cloudflare's API", () => {
  let cloudflare: FakeCloudflare;

  beforeEach(async () => {
    cloudflare = await startFakeCloudflare();
    for (const name of readdirSync(ROOT)) {
      if (!name.startsWith(".") && !existsSync(join(root, name))) symlinkSync(join(ROOT, name), join(root, name));
    }
  });
  afterEach(() => cloudflare.close());

  function surroundings(): Surroundings {
    return {
      root,
      state: join(root, "state"),
      wrangler: [process.execPath, WRANGLER],
      env: { ...process.env, ...NO_NETWORK, ...cloudflare.env, HOME: root },
      ask: undefined,
      say(line) {
        said += `${line}\n`;
      },
      terminal: "ignore",
    };
  }

  it("finds out that there is no such Worker yet, deploys it with its secrets, and changes none the next time", async () => {
    const url = readFileSync(join(root, "address"), "utf8");
    const options = { worker: "holdfast", ...GIVEN, url, key: undefined, dryRun: false };
    const keys = () => cloudflare.bindings("holdfast");
    await setup(options, { ...surroundings(), say });
    const first = new Map(keys());
    expect(said).toContain("   me@example.com");
    expect(first.get("ORIGIN_URL")).toMatchObject({ type: "plain_text", text: ORIGIN });
    expect(first.get("ORIGIN_API_KEY")).toMatchObject({ type: "secret_text", text: "llama-key" });
    expect(first.get("API_KEYS")?.text).toMatch(/^default=sk-holdfast-/);
    expect(said).toContain("one streamed answer");

    said = "";
    await setup({ ...options, origins: [] }, { ...surroundings(), say });
    expect(new Map(keys())).toEqual(first);
    expect(said).toContain("KEY_SECRET is set already: left as it is");

    /** Before the check the small server is given the keys that Cloudflare has. */
    function say(line: string): void {
      said += `${line}\n`;
      writeFileSync(join(root, "secrets.json"), JSON.stringify({ API_KEYS: keys().get("API_KEYS")?.text }));
    }
  });

  it("tells the address that Cloudflare gives", async () => {
    expect(await deploy(surroundings(), "gate", { API_KEYS: "me=a-key-of-16-letters" })).toBe(
      "https://gate.me.workers.dev",
    );
  });

  it("keeps several llama-servers through a plain deploy", async () => {
    const settings = originSettings([
      { name: "attic", url: ORIGIN, key: "key-of-attic" },
      { name: "cellar", url: ORIGIN },
    ]);
    writeFileSync(
      join(root, "wrangler.toml"),
      withOrigins(readFileSync(join(root, "wrangler.toml"), "utf8"), settings),
    );
    await deploy(surroundings(), "gate", settings.secrets);
    const before = new Map(cloudflare.bindings("gate"));
    expect(await showWrangler(surroundings(), ["deploy", "--name", "gate"], {})).toBe(true);
    expect(new Map(cloudflare.bindings("gate"))).toEqual(before);
    expect(before.get("ORIGINS")?.text).toContain("cellar");
    expect(before.get("ORIGIN_ATTIC_KEY")).toMatchObject({ type: "secret_text" });
  });

  it("says what to do where nobody is logged in", async () => {
    const env = { ...surroundings().env, CLOUDFLARE_API_TOKEN: undefined };
    await expect(requireLogin({ ...surroundings(), env })).rejects.toThrow("npx wrangler login");
  });
});

describe("npm run setup -- --tunnel", () => {
  const options = { name: "gpu", local: "http://127.0.0.1:8080", hostname: undefined, dryRun: false };
  const hostname = "llama.example.com";
  const ID = "f70ff985-a4ef-4643-bbbc-4a0ed4fc8415";
  const nowhere = () => ({ env: { PATH: join(root, "nothing"), HOME: root }, platform: "linux" as const, say });

  /** A cloudflared that writes down what it was asked, and knows the tunnel once it has made it. */
  function withCloudflared() {
    const bin = join(root, "bin");
    mkdirSync(bin);
    const made = `[ -e "${root}/made" ] && echo '[{ "id": "${ID}", "name": "gpu", "connections": [] }]'`;
    writeFileSync(
      join(bin, "cloudflared"),
      `#!/bin/sh
echo "$*" >> "${root}/asked"
case "$*" in
  "tunnel create"*) : > "${root}/made" ;;
  "tunnel list"*) ${made} || echo null ;;
esac
`,
    );
    chmodSync(join(bin, "cloudflared"), 0o755);
    return { ...nowhere(), env: { PATH: `${bin}:/usr/bin:/bin`, HOME: root } };
  }
  function say(line: string): void {
    said += `${line}\n`;
  }

  it("without cloudflared prints each step, and where to get it", async () => {
    await tunnel(options, nowhere());
    expect(said).toContain("cloudflared is not on the PATH");
    expect(said).toMatch(/tunnel login.*tunnel create gpu.*tunnel run gpu.*vpc service create gpu .*--http-port 8080/s);
    expect(said).not.toContain("dry run");
  });

  it("says of a dry run that it is one, first and last, also without cloudflared", async () => {
    await tunnel({ ...options, dryRun: true }, nowhere());
    expect(said).toMatch(/^A dry run: nothing is changed.*The dry run is over\.[^\n]*\n$/s);
    said = "";
    await tunnel({ ...options, dryRun: true }, withCloudflared());
    expect(said).toMatch(/^A dry run: nothing is changed.*The dry run is over\.[^\n]*\n$/s);
    expect(asked()).toEqual(["--version"]);
  });

  it("with cloudflared does what is missing, and runs the tunnel", async () => {
    const at = withCloudflared();
    mkdirSync(join(root, ".cloudflared"));
    writeFileSync(join(root, ".cloudflared/cert.pem"), "");
    const list = "tunnel list --name gpu --output json";
    await tunnel(options, at);
    expect(asked()).toEqual(["--version", list, "tunnel create gpu", list, "tunnel run gpu"]);
    expect(said).toContain(`--tunnel-id ${ID}\n`);

    await tunnel(options, at);
    expect(asked().slice(5)).toEqual(["--version", list, list, "tunnel run gpu"]);
  });

  it("puts a public name behind Access", async () => {
    await tunnel({ ...options, hostname }, withCloudflared());
    expect(asked()).toContain("tunnel route dns gpu llama.example.com");
    expect(asked().at(-1)).toBe("tunnel run --url http://127.0.0.1:8080 gpu");
    expect(said).toContain("Service Auth");
    expect(said).toContain("npm run setup -- --origin https://llama.example.com");
  });

  it("ends with what lets the tunnel survive a reboot: a VPC service needs the token alone", async () => {
    await tunnel(options, nowhere());
    expect(said.split("For good:")[1]).toContain(
      '\n  sudo cloudflared service install "$(cloudflared tunnel token gpu)"\n',
    );
  });

  it("ends with what lets the tunnel survive a reboot: a public name needs a file with its ingress", async () => {
    await tunnel({ ...options, hostname, local: "https://llama.lan" }, withCloudflared());
    const [, ending = ""] = said.split("For good:");
    const [file] = /^ {2}tunnel: .*http_status:404$/ms.exec(ending) ?? [];
    expect(file).toBe(`  tunnel: ${ID}
  credentials-file: ${root}/.cloudflared/${ID}.json
  ingress:
    - hostname: llama.example.com
      service: https://llama.lan:443
    - service: http_status:404`);
    expect(ending).toContain(`\n  sudo cloudflared --config ${root}/.cloudflared/gpu.yml service install\n`);
  });

  it("on macOS gives the service the token in any case: without one it would not run the tunnel", async () => {
    await tunnel({ ...options, hostname }, { ...nowhere(), platform: "darwin" });
    expect(said).toMatch(/config\.yml\n\n {2}ingress:\n.*service: http:\/\/127\.0\.0\.1:8080\n/s);
    expect(said).toContain('\n  sudo cloudflared service install "$(cloudflared tunnel token gpu)"\n');
  });

  it("speaks of certificates only where llama-server has one", async () => {
    for (const name of [undefined, hostname]) await tunnel({ ...options, hostname: name }, nowhere());
    expect(said).not.toMatch(/certificate|https-port|noTLSVerify/);
    await tunnel({ ...options, local: "https://llama.lan" }, nowhere());
    expect(said).toMatch(/--https-port 443 --hostname llama\.lan .*--origin https:\/\/llama\.lan --vpc SERVICE-ID/s);
    expect(said).toContain("--cert-verification-mode disabled");
    await tunnel({ ...options, hostname, local: "https://llama.lan" }, nowhere());
    expect(said).toContain("cloudflared tunnel run --url https://llama.lan:443 gpu");
    expect(said).toContain("noTLSVerify: true");
  });
});
