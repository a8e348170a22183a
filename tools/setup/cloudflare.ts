/** The calls to Cloudflare, each by the pinned wrangler. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readWrangler, SetupError, type Surroundings, showWrangler } from "./surroundings.ts";

const HOW_TO_LOG_IN = `You are not logged in to Cloudflare (a free account is enough). Log in with

  npx wrangler login

or, on a machine without a browser, make a token at dash.cloudflare.com/profile/api-tokens from the template
"Edit Cloudflare Workers", and

  export CLOUDFLARE_API_TOKEN=TOKEN

Then run this again.`;

/** How wrangler says that there is no such Worker, and the number that Cloudflare's API has for it. */
const NO_WORKER = /Worker "[^"]*" not found|\b10007\b/;

/** Who is logged in, for the user to see. Throws with what to do when nobody is. */
export async function requireLogin(at: Surroundings): Promise<string> {
  const { ok, stdout, output } = await readWrangler(at, ["whoami", "--json"]);
  const account = parsed(stdout);
  if (ok) return "email" in account && typeof account.email === "string" ? account.email : "an API token";
  if ("loggedIn" in account && account.loggedIn === false) throw new SetupError(HOW_TO_LOG_IN);
  throw new SetupError(`Cannot ask Cloudflare who is logged in. wrangler whoami: ${output.quote()}`);
}

/** The names of the secrets of the Worker; none where there is no such Worker yet. Their values nobody can read. */
export async function secretNames(at: Surroundings, worker: string): Promise<Set<string>> {
  const { ok, stdout, output } = await readWrangler(at, ["secret", "list", "--name", worker, "--format", "json"]);
  if (!ok && NO_WORKER.test(output.text)) return new Set();
  const list = parsed(stdout);
  if (!ok || !Array.isArray(list)) throw new SetupError(`Cannot list the Worker's secrets. ${output.quote()}`);
  return new Set(list.map(({ name }: { name?: unknown }) => String(name)));
}

/** Uploads code and these secrets as one version; those that are not named stay. Returns its address, if it has one. */
export async function deploy(
  at: Surroundings,
  worker: string,
  secrets: Readonly<Record<string, string>>,
): Promise<string | undefined> {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-setup-"));
  // The secrets stand in a file for as long as wrangler reads it, also when we are interrupted meanwhile.
  const remove = () => rmSync(folder, { recursive: true, force: true });
  process.once("exit", remove);
  try {
    const secretsFile = join(folder, "secrets.json");
    const outputFile = join(folder, "output.ndjson");
    writeFileSync(secretsFile, JSON.stringify(secrets), { mode: 0o600 });
    writeFileSync(outputFile, "", { mode: 0o600 });
    const args = ["deploy", "--name", worker, "--secrets-file", secretsFile];
    if (!(await showWrangler(at, args, { WRANGLER_OUTPUT_FILE_PATH: outputFile }))) {
      throw new SetupError("wrangler deploy failed; what it said is above. Run this again when that is solved");
    }
    return addressIn(readFileSync(outputFile, "utf8"));
  } finally {
    process.off("exit", remove);
    remove();
  }
}

/** wrangler writes down what it did, an object in each line; the last deployment's first address that is no pattern. */
function addressIn(output: string): string | undefined {
  const targets = output
    .split("\n")
    .map(parsed)
    .flatMap((entry) => ("targets" in entry && Array.isArray(entry.targets) ? entry.targets : []));
  const address = targets.find((target) => typeof target === "string" && !target.includes("*"));
  if (address === undefined) return undefined;
  return (address.startsWith("http") ? address : `https://${address.split(" ")[0]}`).replace(/\/+$/, "");
}

function parsed(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    // Not what we asked for: whoever reads the result finds nothing in it.
    return {};
  }
}
