/** What origin.setup.ts, which runs in Node, hands to the tests inside workerd. */
import "vitest";

declare module "vitest" {
  interface ProvidedContext {
    originUrl: string;
  }
}
