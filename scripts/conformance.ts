/** npm run conformance, and the package's `holdfast conformance`: does this server keep the rules of the protocol? */
import { Client, freshId } from "../test/conformance/client.ts";
import { lacking, type Rule } from "../test/conformance/rule.ts";
import { TOPICS } from "../test/conformance/rules.ts";
import type { Target } from "../test/conformance/target.ts";
import { type SendOptions, send } from "../test/support/http.ts";
import { exitCode, fail, fromEnvironment, misused, onEnd, readOptions } from "../tools/command-line.ts";
import { INVOCATION } from "../tools/invocation.ts";

const HELP = `Usage: HOLDFAST_KEY=KEY ${INVOCATION.conformance} --url URL [options]

Runs the rules of resumable streams against a server: Holdfast, llama-server, or another one that claims the protocol.
Nobody else should use it meanwhile. Prints a line per rule; the exit code is 0 when those that were run hold, 1 when not,
2 when the server cannot be asked. Where Holdfast and llama-server differ on purpose, a server is held to Holdfast's side
if it sends Holdfast-Session, else to llama-server's.

  --url URL          the server, as http://127.0.0.1:8080
  --origin URL       the llama-server behind it, for what becomes of its slots
  --model NAME       the model to ask for, where the server has several
  --only WORDS       the rules whose names have these words in them
  --help             this text

Environment: HOLDFAST_KEY, the server's API key; HOLDFAST_OTHER_KEY, another of its keys, for what one key may not see of
another's; ORIGIN_API_KEY, the llama-server's. The options --key, --other-key and --origin-key do the same, but npm prints
them, and other users of this machine see them in the list of processes.
`;
const HINT = `${INVOCATION.conformance} --help shows the options.`;
const REACHED_WITHIN_MS = 10_000;
/** A cold model. */
const FIRST_ANSWER_MS = 120_000;
/** Silence longer than that looks like a hang. */
const SIGN_OF_LIFE_MS = 4_000;
/** From these the server's pace is told. */
const PACE_TOKENS = 60;
/** `unhurriedTokens` take a third of a second, but have a middle, and are not what only a toy model says in that time. */
const UNHURRIED = { seconds: 1 / 3, least: 60, most: 1_000 };

const { values: options } = readOptions(
  {
    args: process.argv.slice(2),
    options: {
      url: { type: "string" },
      key: { type: "string" },
      "other-key": { type: "string" },
      origin: { type: "string" },
      "origin-key": { type: "string" },
      model: { type: "string" },
      only: { type: "string", default: "" },
      help: { type: "boolean", short: "h", default: false },
    },
  },
  HINT,
);

type Result = "ok" | "NO" | "not run";

await main();

async function main(): Promise<void> {
  if (options.help) return console.log(HELP);
  const url = addressIn("--url", options.url);
  const client = new Client(await targetAt(url));
  // What runs would go on without us.
  onEnd(async (signal) => {
    await client.cleanUp().catch(() => {});
    process.exit(exitCode(null, signal));
  });
  const results = { ok: 0, NO: 0, "not run": 0 };
  const reasons = new Map<string, number>();
  for (const { name: topic, rules } of TOPICS) {
    const wanted = rules.filter(({ name }) => `${topic}: ${name}`.includes(options.only));
    if (wanted.length > 0) console.log(`\n${topic}`);
    for (const rule of wanted) {
      results[await judged(rule, client)] += 1;
      for (const reason of lacking(rule, client.target)) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    }
  }
  console.log(`\n${results.ok} of ${results.ok + results.NO} rules hold on ${url}`);
  if (results["not run"] > 0) console.log(`${results["not run"]} were not run (--); one may need more than one thing:`);
  for (const [reason, count] of reasons) console.log(`  ${count} need ${reason}`);
  if (results.ok + results.NO === 0) misused(`No rule was run with --only "${options.only}"`);
  process.exit(results.NO === 0 ? 0 : 1);
}

function addressIn(option: string, given: string | undefined): string {
  if (given === undefined || !URL.canParse(given))
    return misused(`${option} must be an address like http://127.0.0.1:8080\n${HINT}`);
  return given.replace(/\/+$/, "");
}

/** Learns from the server itself what can be asked of it. */
async function targetAt(url: string): Promise<Target> {
  await requireServer(url);
  const apiKey = options.key ?? fromEnvironment("HOLDFAST_KEY");
  const bare: Target = { name: url, kind: "llama-server", url, apiKey, model: options.model, unhurriedTokens: 0 };
  const { kind, unhurriedTokens } = await firstAnswer(bare);
  const wrong = await ask(url, "/v1/models", { headers: { authorization: "Bearer a-wrong-key" } });
  const origin = await originOf(kind === "holdfast" ? undefined : { url, apiKey });
  const otherKey = options["other-key"] ?? fromEnvironment("HOLDFAST_OTHER_KEY");
  const target: Target = { ...bare, kind, unhurriedTokens, otherKey, origin };
  console.log(
    `${url} is held to ${kind === "holdfast" ? "Holdfast's" : "llama-server's"} side of what they differ in.`,
  );
  return wrong.status === 401 ? target : { ...target, apiKey: undefined, otherKey: undefined };
}

async function requireServer(url: string): Promise<void> {
  try {
    await fetch(`${url}/health`, { signal: AbortSignal.timeout(REACHED_WITHIN_MS) });
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
    misused(`No server answers on ${url}: ${cause}`);
  }
}

/** Wakes the model, and tells how fast it is and what kind of server sends its words. */
async function firstAnswer(target: Target): Promise<Pick<Target, "kind" | "unhurriedTokens">> {
  const client = new Client(target);
  const begun = signsOfLife("the first answer");
  try {
    const answer = await client.post(client.short({ max_tokens: PACE_TOKENS }), { id: freshId() });
    await answer.readUntil("data: ", FIRST_ANSWER_MS).catch(() => {});
    const from = performance.now();
    const text = (await answer.whole(FIRST_ANSWER_MS)).toString();
    if (answer.status !== 200)
      misused(`${target.url} does not answer a chat request: ${answer.status} ${text.slice(0, 300)}`);
    const tokens = (UNHURRIED.seconds * 1000 * PACE_TOKENS) / (performance.now() - from);
    return {
      kind: answer.headers["holdfast-session"] === undefined ? "llama-server" : "holdfast",
      unhurriedTokens: Math.round(Math.min(UNHURRIED.most, Math.max(UNHURRIED.least, tokens))),
    };
  } finally {
    clearInterval(begun);
    await client.cleanUp();
  }
}

/** Where its slots can be seen, and are enough. */
async function originOf(server: Target["origin"]): Promise<Target["origin"]> {
  const given = options.origin === undefined ? undefined : addressIn("--origin", options.origin);
  const origin =
    given === undefined ? server : { url: given, apiKey: options["origin-key"] ?? fromEnvironment("ORIGIN_API_KEY") };
  if (origin === undefined) return undefined;
  const headers = origin.apiKey === undefined ? {} : { authorization: `Bearer ${origin.apiKey}` };
  const answer = await ask(origin.url, "/slots", { headers });
  const slots = answer.status === 200 ? await answer.json() : [];
  return Array.isArray(slots) && slots.length > 1 ? origin : undefined;
}

async function ask(url: string, path: string, sendOptions: SendOptions) {
  try {
    return await send("GET", url + path, sendOptions).answer;
  } catch (error) {
    return misused(`No server answers on ${url}: ${error instanceof Error ? error.message : error}`);
  }
}

async function judged(rule: Rule, client: Client): Promise<Result> {
  if (lacking(rule, client.target).length > 0) {
    console.log(`  --             ${rule.name}`);
    return "not run";
  }
  const begun = performance.now();
  const seconds = () => `${((performance.now() - begun) / 1000).toFixed(1)} s`.padStart(9);
  const signs = signsOfLife(rule.name);
  try {
    await rule.run(client);
    console.log(`  ok  ${seconds()}  ${rule.name}`);
    return "ok";
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    console.log(`  NO  ${seconds()}  ${rule.name}\n      ${said.trim().slice(0, 500).replaceAll("\n", "\n      ")}`);
    return "NO";
  } finally {
    clearInterval(signs);
    // What the rule left running costs the next one its slot; a server that cannot stop it says so in a rule of its own.
    await client.cleanUp().catch((error: unknown) => fail(`The server cannot be asked any more: ${error}`));
  }
}

function signsOfLife(what: string): NodeJS.Timeout {
  const begun = performance.now();
  return setInterval(() => {
    const seconds = `${((performance.now() - begun) / 1000).toFixed(1)} s`.padStart(9);
    console.error(`  …   ${seconds}  ${what}`);
  }, SIGN_OF_LIFE_MS);
}
