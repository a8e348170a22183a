/** The page into the folder that wrangler bundles in: its `[build]` command. */
import { fail } from "../tools/command-line.ts";
import { writePage } from "../tools/page.ts";

await writePage(process.cwd()).catch((error: Error) => fail(error.message));
