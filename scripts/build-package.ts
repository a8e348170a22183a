/** Before `npm pack`: all of lib/, from nothing. */
import { LIB } from "../tools/client-package.ts";
import { fail } from "../tools/command-line.ts";
import { buildPackage } from "../tools/package.ts";

await buildPackage(LIB).catch((error: Error) => fail(error.message));
