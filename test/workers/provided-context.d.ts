/** What origin.setup.ts, which runs in Node, hands to the tests inside workerd. */
import "vitest";

declare module "vitest" {
  interface ProvidedContext {
    /** One for each file of tests. */
    originUrls: string[];
  }
}
