/** The package's `holdfast install`: workerd, which `holdfast start` would install, and no start. */
import { exitCode, fail, onEnd, readOptions } from "../tools/command-line.ts";
import { INVOCATION } from "../tools/invocation.ts";
import { requireWorkerd } from "../tools/workerd.ts";

const HELP = `Usage: ${INVOCATION.install}

Installs workerd, which runs the gateway, where it is not installed yet, and prints where it is: for a container image, or
before this machine is without a network.

  --help             this text
`;

const { values: options } = readOptions(
  { args: process.argv.slice(2), options: { help: { type: "boolean", short: "h", default: false } } },
  `${INVOCATION.install} --help shows what it does.`,
);
if (options.help) console.log(HELP);
else await install();

async function install(): Promise<void> {
  onEnd((signal) => process.exit(exitCode(null, signal)));
  const binary = await requireWorkerd((line) => console.error(`holdfast: ${line}`)).catch((error) =>
    fail(error.message),
  );
  console.log(binary);
  // What listens for our end keeps a process running.
  process.exit(0);
}
