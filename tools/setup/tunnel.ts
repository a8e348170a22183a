/**
 * npm run setup -- --tunnel, on the machine with the GPU: a named tunnel from Cloudflare to its llama-server.
 *
 *   without --hostname   a VPC service: no public name, no domain needed; only Workers of the account reach it
 *   with --hostname      a public name behind Cloudflare Access: a service token opens it, and nothing else
 *
 * With cloudflared on the PATH each step that has not been done is done, and the tunnel runs at the end; else they are
 * printed. What needs the dashboard, or root, is printed in any case.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { guard } from "../child-process.ts";
import { address } from "./local-server.ts";
import { run, SetupError } from "./surroundings.ts";
import { type Tunnel, theRest, throughReboots } from "./tunnel-instructions.ts";

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
  platform: NodeJS.Platform;
  say(line: string): void;
}

interface Step {
  args: string[];
  why: string;
  isDone(): boolean | Promise<boolean>;
}

const HOW_TO_GET_CLOUDFLARED =
  "cloudflared is not on the PATH; developers.cloudflare.com/tunnel/downloads has it. With it this command does the steps itself.";

/** In Cloudflare's documentation a domain is a prerequisite of a tunnel that is made on the command line. */
const WITHOUT_A_DOMAIN = `cloudflared's login asks for a domain of the account. It has none? Then, in place of the steps above: make the tunnel in the
dashboard, under Networking, Tunnels, and run the command with its token that is shown there.`;

export async function tunnel(options: TunnelOptions, at: TunnelSurroundings): Promise<void> {
  if (options.dryRun) at.say("A dry run: nothing is changed, here or at Cloudflare.\n");
  const steps = stepsOf(options, at);
  const last = runArguments(options);
  const version = await run("cloudflared", ["--version"], { env: at.env }).catch((error: unknown) => {
    if (error instanceof SetupError) return undefined;
    throw error;
  });
  if (version?.ok !== true || options.dryRun) {
    if (version === undefined) at.say(`${HOW_TO_GET_CLOUDFLARED}\n`);
    at.say(printed(steps, last, described(options, at, undefined)));
    if (options.dryRun)
      at.say("\nThe dry run is over. Without --dry-run, and with cloudflared, the commands above are run.");
    return;
  }
  for (const { args, why, isDone } of steps) {
    if (await isDone()) at.say(`${why}: done already`);
    else await cloudflared(args, why, at);
  }
  const made = described(options, at, await idOf(options.name, at));
  at.say(`\n${theRest(made)}\n\n${throughReboots(made)}\n`);
  await cloudflared(last, "The tunnel runs until Ctrl-C", at);
}

function described({ name, local, hostname }: TunnelOptions, at: TunnelSurroundings, id: string | undefined): Tunnel {
  return { name, id, local, hostname, home: homeIn(at), platform: at.platform };
}

function homeIn({ env }: TunnelSurroundings): string {
  return env.HOME ?? homedir();
}

function stepsOf({ name, hostname }: TunnelOptions, at: TunnelSurroundings): Step[] {
  const steps: Step[] = [
    {
      args: ["tunnel", "login"],
      why: "Log cloudflared in, in the browser that opens",
      isDone: () => existsSync(join(homeIn(at), ".cloudflared/cert.pem")),
    },
    {
      args: ["tunnel", "create", name],
      why: `Make the tunnel "${name}"`,
      isDone: async () => (await idOf(name, at)) !== undefined,
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

/** `undefined`: the account has no tunnel of that name. */
async function idOf(name: string, { env }: TunnelSurroundings): Promise<string | undefined> {
  const args = ["tunnel", "list", "--name", name, "--output", "json"];
  const { ok, stdout } = await run("cloudflared", args, { env });
  return ok ? idIn(stdout, name) : undefined;
}

function idIn(list: string, name: string): string | undefined {
  try {
    const tunnels: unknown = JSON.parse(list);
    const found: unknown = Array.isArray(tunnels) ? tunnels.find((tunnel) => tunnel?.name === name) : undefined;
    return typeof found === "object" && found && "id" in found && typeof found.id === "string" ? found.id : undefined;
  } catch {
    // A sentence in the list's place: there is none.
    return undefined;
  }
}

function runArguments({ name, local, hostname }: TunnelOptions): string[] {
  return hostname === undefined ? ["tunnel", "run", name] : ["tunnel", "run", "--url", address(local), name];
}

function printed(steps: readonly Step[], last: readonly string[], tunnel: Tunnel): string {
  const commands = steps.map(({ args, why }) => `# ${why}\ncloudflared ${args.join(" ")}`);
  const end = `# The tunnel runs until Ctrl-C\ncloudflared ${last.join(" ")}`;
  const domain = tunnel.hostname === undefined ? [WITHOUT_A_DOMAIN] : [];
  return [
    "On the machine with the llama-server:",
    ...commands,
    end,
    ...domain,
    theRest(tunnel),
    throughReboots(tunnel),
  ].join("\n\n");
}

/** With the user's terminal: it opens a browser, and shows its log. */
async function cloudflared(args: readonly string[], why: string, { env, say }: TunnelSurroundings): Promise<void> {
  say(`${why}: cloudflared ${args.join(" ")}`);
  const child = spawn("cloudflared", args, { env, stdio: "inherit" });
  guard(child);
  const [code] = await once(child, "exit");
  if (code !== 0) throw new SetupError(`cloudflared ${args.join(" ")} ended with ${code}`);
}
