/**
 * npm run setup: from a checkout to a gateway on Cloudflare that has answered once.
 *
 *   login ─▶ origins ─▶ secrets ─▶ deploy ─▶ /health ─▶ one streamed answer ─▶ how to use it
 *
 * Safe to run again, from any state: it makes what is missing. Keys that are set at Cloudflare already it never changes,
 * since people hold them; what the person gives now is set, since they ask for it.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { terminalQrCode } from "../invitation.ts";
import { ADMIN_KEY_FILE, KEY_SECRET_FILE, keptSecret, readSecret } from "../kept-secret.ts";
import { wranglerVars } from "../workerd-config.ts";
import { checkAnswer, whenHealthy } from "./check.ts";
import { deploy, requireLogin, secretNames } from "./cloudflare.ts";
import {
  bindingPrefix,
  type GivenOrigin,
  type OriginSettings,
  originSettings,
  parseOrigin,
  urlProblem,
  withOrigins,
} from "./origins.ts";
import { SetupError, type Surroundings } from "./surroundings.ts";

export interface SetupOptions {
  worker: string;
  /** Those that were given; none: those of the last time, or a question. */
  origins: GivenOrigin[];
  /** The gateway's address, where it is not the one that wrangler tells: a domain of one's own. */
  url: string | undefined;
  /** A key to check with, where API_KEYS was set by somebody else. */
  key: string | undefined;
  dryRun: boolean;
}

const API_KEY_FILE = "api-key";
const NO_SECRETS: ReadonlySet<string> = new Set();

export async function setup(options: SetupOptions, at: Surroundings): Promise<void> {
  if (options.dryRun) at.say("A dry run: nothing is changed, here or at Cloudflare.");
  at.say("1. Who is logged in at Cloudflare?");
  if (options.dryRun) at.say("   would ask: wrangler whoami");
  else at.say(`   ${await requireLogin(at)}`);

  at.say("2. Which llama-server answers?");
  const origins = await chooseOrigins(options, at);
  const settings = origins && originSettings(origins);
  if (settings) applyOrigins(settings, options, at);

  at.say("3. Secrets");
  if (options.dryRun) at.say(`   would ask: wrangler secret list --name ${options.worker}`);
  const there = options.dryRun ? NO_SECRETS : await secretNames(at, options.worker);
  const secrets = { ...madeSecrets(there, options, at), ...settings?.secrets };
  for (const name of there) if (!(name in secrets)) at.say(`   ${name} is set already: left as it is`);
  for (const name of Object.keys(secrets)) at.say(`   ${name}: ${options.dryRun ? "would be set" : "will be set"}`);

  at.say("4. Deploy");
  if (options.dryRun) return dryEnd(options, at);
  const told = await deploy(at, options.worker, secrets);
  const address = options.url ?? told;
  if (address === undefined) {
    throw new SetupError("Deployed, but the Worker has no address. Give the one of its route: --url https://…");
  }
  await check(address, options, at);
}

/** `undefined`: those of the last time, which stand in wrangler.toml. */
async function chooseOrigins(
  { origins, dryRun }: SetupOptions,
  { root, ask, say }: Surroundings,
): Promise<GivenOrigin[] | undefined> {
  if (origins.length > 0) return origins;
  const before = originIn(wranglerToml(root));
  if (before !== undefined) return void say(`   as in wrangler.toml: ${before}`);
  if (dryRun) {
    say("   would ask for its address and its key; as an example:");
    return [{ name: "default", url: "https://llama.example.com", key: "KEY" }];
  }
  if (ask !== undefined) return await askForOrigins(ask);
  throw new SetupError(
    "Give the llama-server's address: npm run setup -- --origin https://llama.example.com\n" +
      "It has none that Cloudflare can reach? npm run setup -- --tunnel makes one",
  );
}

type Ask = NonNullable<Surroundings["ask"]>;

async function askForOrigins(ask: Ask): Promise<GivenOrigin[]> {
  const origins: GivenOrigin[] = [];
  for (;;) {
    const first = origins.length === 0;
    const question = first
      ? "   Its address (https://…; it has none? Ctrl-C, then npm run setup -- --tunnel): "
      : "   Another llama-server, as NAME=https://… (Enter: no more): ";
    const text = (await ask(question)).trim();
    if (text === "" && !first) return origins;
    const { name, url } = parseOrigin(text, origins.length);
    const problem = urlProblem(url) ?? nameProblem(name, origins);
    if (problem !== undefined) {
      await ask(`   The address ${problem}. Enter to try again `);
      continue;
    }
    const key = (await ask("   Its key, llama-server's --api-key (Enter: none): ")).trim();
    origins.push({ name, url, key: key || undefined });
  }
}

function nameProblem(name: string, others: readonly GivenOrigin[]): string | undefined {
  const taken = others.find((other) => bindingPrefix(other.name) === bindingPrefix(name));
  return taken && `has the name of ${taken.name}, but for case and punctuation: the two would share a key`;
}

function applyOrigins(settings: OriginSettings, { dryRun }: SetupOptions, { root, say }: Surroundings): void {
  const before = wranglerToml(root);
  const after = withOrigins(before, settings);
  const { ORIGIN_URL: url, ORIGINS: list } = settings.vars;
  say(`   ${list || url}`);
  if (list === "" && settings.secrets.ORIGIN_API_KEY === undefined) {
    say(
      "   without a key of its own given now; whoever finds that address may use the GPU, unless it has one (ORIGIN_API_KEY)",
    );
  }
  if (after === before) return;
  say(`   ${dryRun ? "would be written" : "written"} into wrangler.toml, so that a plain \`npm run deploy\` keeps it`);
  if (!dryRun) writeFileSync(join(root, "wrangler.toml"), after);
}

/** Those that are missing, made now; what Cloudflare has, nobody can read, so a copy stays here. */
function madeSecrets(
  there: ReadonlySet<string>,
  { dryRun }: SetupOptions,
  { state }: Surroundings,
): Record<string, string> {
  const value = (file: string, prefix: string) => (dryRun ? "" : keptSecret(state, file, prefix).value);
  return {
    ...(!there.has("API_KEYS") && { API_KEYS: `default=${value(API_KEY_FILE, "sk-holdfast-")}` }),
    ...(!there.has("ADMIN_KEY") && { ADMIN_KEY: value(ADMIN_KEY_FILE, "hfadmin-") }),
    ...(!there.has("KEY_SECRET") && { KEY_SECRET: value(KEY_SECRET_FILE, "") }),
  };
}

function dryEnd({ worker, url }: SetupOptions, { say }: Surroundings): void {
  say(`   would run: wrangler deploy --name ${worker} --secrets-file FILE`);
  const address = url ?? `https://${worker}.YOUR-NAME.workers.dev`;
  say("5. Check");
  say(`   would ask: GET ${address}/health, until it says ok`);
  say(`   would ask: POST ${address}/v1/chat/completions, one short streamed answer`);
  say("6. Use it");
  say(`   would print: ${address}, the page's sign-in link and its QR code, a curl command`);
  say("The dry run is over. Without --dry-run the same steps are done.");
}

async function check(url: string, { key: given }: SetupOptions, { say, state, root }: Surroundings): Promise<void> {
  say(`5. Check ${url}`);
  await whenHealthy(url, say);
  say("   /health: ok");
  const key = given ?? readSecret(state, API_KEY_FILE);
  if (key === undefined) {
    throw new SetupError(
      "Deployed and up. No answer was asked for: API_KEYS was set before, and its keys cannot be read. Give one: HOLDFAST_KEY=KEY npm run setup",
    );
  }
  const { firstMs, events } = await checkAnswer(url, key, say);
  say(`   one streamed answer: the first event after ${(firstMs / 1000).toFixed(1)} s, ${events} in all`);
  say(farewell(url, key, existsSync(join(state, ADMIN_KEY_FILE)) ? state : undefined, root));
}

function farewell(url: string, key: string, state: string | undefined, root: string): string {
  const link = `${url}/#key=${encodeURIComponent(key)}`;
  const next =
    state === undefined
      ? ""
      : `
A key for somebody else:

  npm run key -- add NAME --url ${url} --storage ${state.startsWith(`${root}/`) ? state.slice(root.length + 1) : state}
`;
  return `
  gateway   ${url}
  API key   ${key}

Chat on any device: open this link, or scan the code. It holds the key, so show it to nobody else:

  ${link}

${terminalQrCode(link)}

Or in a shell:

  curl -N ${url}/v1/chat/completions -H "Authorization: Bearer ${key}" \\
    -H 'Content-Type: application/json' -H 'X-Conversation-Id: hello' \\
    -d '{"messages":[{"role":"user","content":"hi"}],"stream":true}'
${next}`;
}

function wranglerToml(root: string): string {
  return readFileSync(join(root, "wrangler.toml"), "utf8");
}

/** What Cloudflare can reach; the file of a fresh checkout names this machine. */
function originIn(toml: string): string | undefined {
  const { ORIGINS, ORIGIN_URL } = wranglerVars(toml);
  if (ORIGINS) return ORIGINS;
  return ORIGIN_URL !== undefined && urlProblem(ORIGIN_URL) === undefined ? ORIGIN_URL : undefined;
}
