/** npm run conformance, and the package's `holdfast conformance`: does this server keep the rules of the protocol? */

import { Client } from "../test/conformance/client.ts";
import { RULES, type Rule, type Subject } from "../test/conformance/rules.ts";
import { fail, misused, readOptions } from "../tools/command-line.ts";

const HELP = `Usage: conformance --url URL [options]

Runs the wire rules of resumable streams against a server: Holdfast, llama-server, or another one that claims the protocol.
Prints a line per rule; the exit code is 0 when all of them hold, 1 when not, 2 when the server cannot be asked.

  --url URL      the server, as http://127.0.0.1:8080
  --key KEY      its API key (HOLDFAST_KEY in the environment, which other users of the machine do not see)
  --model NAME   the model to ask for, where the server has several
  --help         this text
`;
const HINT = "--help shows the options.";
const REACHED_WITHIN_MS = 10_000;
/** Silence longer than that looks like a hang. */
const SIGN_OF_LIFE_MS = 4_000;

const { values: options } = readOptions(
  {
    args: process.argv.slice(2),
    options: {
      url: { type: "string" },
      key: { type: "string" },
      model: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  },
  HINT,
);

await main();

async function main(): Promise<void> {
  if (options.help) return console.log(HELP);
  const url = options.url?.replace(/\/+$/, "");
  if (url === undefined || !URL.canParse(url))
    return misused(`--url must be an address like http://127.0.0.1:8080\n${HINT}`);
  await requireServer(url);
  const subject = subjectAt(url, options.key ?? process.env.HOLDFAST_KEY);
  let broken = 0;
  for (const rule of RULES) if (!(await holds(rule, subject))) broken += 1;
  console.log(`\n${RULES.length - broken} of ${RULES.length} rules hold on ${url}`);
  process.exit(broken === 0 ? 0 : 1);
}

async function requireServer(url: string): Promise<void> {
  try {
    await fetch(`${url}/health`, { signal: AbortSignal.timeout(REACHED_WITHIN_MS) });
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
    misused(`No server answers on ${url}: ${cause}`);
  }
}

function subjectAt(url: string, key: string | undefined): Subject {
  const apiKey = key ?? "none";
  const server = { name: url, kind: "llama-server", url, apiKey, otherKey: apiKey } as const;
  const origin = { originUrl: url, originKey: apiKey, originKind: "llama-server", retainedBytes: 0 } as const;
  const client = new Client({ ...server, ...origin });
  const chat = (tokens: number) => ({
    ...(options.model !== undefined && { model: options.model }),
    ...client.short({ max_tokens: tokens }),
  });
  return { client, chat, hasKey: key !== undefined };
}

async function holds({ name, run }: Rule, subject: Subject): Promise<boolean> {
  const begun = performance.now();
  const seconds = () => `${((performance.now() - begun) / 1000).toFixed(1)} s`.padStart(7);
  const signs = setInterval(() => console.error(`  …   ${seconds()}  ${name}`), SIGN_OF_LIFE_MS);
  try {
    await run(subject);
    console.log(`  ok  ${seconds()}  ${name}`);
    return true;
  } catch (error) {
    const [said = ""] = (error instanceof Error ? error.message : String(error)).split("\n\n");
    console.log(`  NO  ${seconds()}  ${name}\n      ${said.trim().slice(0, 500).replaceAll("\n", "\n      ")}`);
    return false;
  } finally {
    clearInterval(signs);
    // What the rule left running costs the next one its slot; a server that cannot stop it says so in a rule of its own.
    await subject.client.cleanUp().catch((error: unknown) => fail(`The server cannot be asked any more: ${error}`));
  }
}
