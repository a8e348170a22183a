import { test } from "vitest";
import { Site, type SiteOptions } from "./site.ts";

/** `start` starts sites that belong to the test and are closed after it, so that tests can run at the same time. */
export const it = test.extend<{ start: (options?: SiteOptions) => Promise<Site> }>({
  start: async ({ onTestFinished }, use) => {
    await use(async (options) => {
      const site = await Site.start(options);
      onTestFinished(() => site.close());
      return site;
    });
  },
});
