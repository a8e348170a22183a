import { afterEach, describe, inject, it } from "vitest";
import { Client } from "./client.ts";
import { RULES } from "./rules.ts";

describe.each(inject("targets"))("the rules for every server, on $name", (target) => {
  const client = new Client(target);
  afterEach(() => client.cleanUp());

  it.each(RULES)("$name", ({ run }) =>
    run({ client, chat: (tokens) => client.short({ max_tokens: tokens }), hasKey: true }),
  );
});
