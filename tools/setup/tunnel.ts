/**
 * npm run setup -- --tunnel, on the machine with the GPU: a named tunnel from Cloudflare to its llama-server.
 *
 *   without --hostname   a VPC service: no public name, no domain needed; only Workers of the account reach it
 *   with --hostname      a public name behind Cloudflare Access: a service token opens it, and nothing else
 *
 * With cloudflared on the PATH each step that has not been done is done, and the tunnel runs at the end; else they are
 * printed. What needs the dashboard is printed in any case.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { guard } from "../child-process.ts";
import { run, SetupError } from "./surroundings.ts";

export interface TunnelOptions {
  /** The tunnel's name. */
  name: string;
  /** The llama-server, as this machine reaches it. */
  local: string;
  hostname: string | undefined;
  dryRun: boolean;
}

export interface TunnelSurroundings {
  env: NodeJS.ProcessEnv;
  say(line: string): void;
}

interface Step {
  args: string[];
  why: string;
  isDone(): boolean | Promise<boolean>;
}

const HOW_TO_GET_CLOUDFLARED =
  "cloudflared is not on the PATH; developers.cloudflare.com/tunnel/downloads has it. With it this command does the steps itself.";

export async function tunnel(options: TunnelOptions, at: TunnelSurroundings): Promise<void> {
  const steps = stepsOf(options, at);
  const last = runArguments(options);
  const version = await run("cloudflared", ["--version"], { env: at.env }).catch((error: unknown) => {
    if (error instanceof SetupError) return undefined;
    throw error;
  });
  if (version?.ok !== true || options.dryRun) {
    if (version === undefined) at.say(HOW_TO_GET_CLOUDFLARED);
    at.say(printed(steps, last, options));
    return;
  }
  for (const { args, why, isDone } of steps) {
    if (await isDone()) at.say(`${why}: done already`);
    else await cloudflared(args, why, at);
  }
  at.say(theRest(options));
  await cloudflared(last, "The tunnel runs until Ctrl-C", at);
}

function stepsOf({ name, hostname }: TunnelOptions, { env }: TunnelSurroundings): Step[] {
  const home = env.HOME ?? homedir();
  const steps: Step[] = [
    {
      args: ["tunnel", "login"],
      why: "Log cloudflared in, in the browser that opens",
      isDone: () => existsSync(join(home, ".cloudflared/cert.pem")),
    },
    {
      args: ["tunnel", "create", name],
      why: `Make the tunnel "${name}"`,
      isDone: async () => {
        const { ok, stdout } = await run("cloudflared", ["tunnel", "list", "--name", name, "--output", "json"], {
          env,
        });
        return ok && stdout.includes(`"${name}"`);
      },
    },
  ];
  if (hostname === undefined) return steps;
  // Asked for again it changes nothing.
  const route = {
    args: ["tunnel", "route", "dns", name, hostname],
    why: `Lead ${hostname} to it`,
    isDone: () => false,
  };
  return [...steps, route];
}

function runArguments({ name, local, hostname }: TunnelOptions): string[] {
  return hostname === undefined ? ["tunnel", "run", name] : ["tunnel", "run", "--url", local, name];
}

function printed(steps: readonly Step[], last: readonly string[], options: TunnelOptions): string {
  const commands = steps.map(({ args, why }) => `# ${why}\ncloudflared ${args.join(" ")}`);
  const end = `# The tunnel runs until Ctrl-C; to keep it: cloudflared service install\ncloudflared ${last.join(" ")}`;
  return `On the machine with the llama-server:\n\n${[...commands, end].join("\n\n")}\n\n${theRest(options)}`;
}

function theRest({ name, local, hostname }: TunnelOptions): string {
  if (hostname === undefined) {
    const { port, protocol } = new URL(local);
    return `Then make it a service that only your own Workers reach (TUNNEL-ID is in \`cloudflared tunnel list\`), and deploy:

  npx wrangler vpc service create ${name} --type http --http-port ${port || (protocol === "https:" ? 443 : 80)} --ipv4 127.0.0.1 --tunnel-id TUNNEL-ID
  npm run setup -- --vpc SERVICE-ID`;
  }
  return `Before anybody finds ${hostname}, close it to all but the gateway. In the dashboard, under Zero Trust:

  1. Access controls, Service credentials: make a service token; note its id and its secret.
  2. Access controls, Applications: a self-hosted application for ${hostname}, with one policy: action Service Auth,
     include that token.

Then deploy:

  CF_ACCESS_CLIENT_ID=ID CF_ACCESS_CLIENT_SECRET=SECRET npm run setup -- --origin https://${hostname}`;
}

/** With the user's terminal: it opens a browser, and shows its log. */
async function cloudflared(args: readonly string[], why: string, { env, say }: TunnelSurroundings): Promise<void> {
  say(`${why}: cloudflared ${args.join(" ")}`);
  const child = spawn("cloudflared", args, { env, stdio: "inherit" });
  guard(child);
  const [code] = await once(child, "exit");
  if (code !== 0) throw new SetupError(`cloudflared ${args.join(" ")} ended with ${code}`);
}
