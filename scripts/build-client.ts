/** `npm run build:client`, and before `npm pack`: writes the package's `holdfast/client` into lib/ and says what it weighs. */
import { buildClient, CLIENT_LIMIT_BYTES, LIB } from "../tools/client-package.ts";

const { minified, gzipped } = await buildClient(LIB);
console.log(`holdfast/client: ${minified} bytes, ${gzipped} gzipped (at most ${CLIENT_LIMIT_BYTES})`);
