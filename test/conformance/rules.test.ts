import { afterEach, describe, expect, inject, it } from "vitest";
import { Client } from "./client.ts";
import { lacking } from "./rule.ts";
import { TOPICS } from "./rules.ts";

describe.each(TOPICS)("$name", ({ rules }) => {
  describe.each(inject("targets"))("on $name", { timeout: 60_000 }, (target) => {
    const client = new Client(target);
    afterEach(() => client.cleanUp());

    for (const rule of rules) {
      it(rule.name, async () => {
        expect(lacking(rule, target)).toEqual([]);
        await rule.run(client);
      });
    }
  });
});
