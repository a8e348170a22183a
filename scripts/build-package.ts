/** Before `npm pack`: all of lib/, from nothing. */
import { buildClient, LIB } from "../tools/client-package.ts";
import { fail } from "../tools/command-line.ts";
import { buildProgram } from "../tools/package.ts";

// The client first: it empties the folder.
await buildClient(LIB).catch((error: Error) => fail(error.message));
await buildProgram(LIB).catch((error: Error) => fail(error.message));
