/** How long nothing comes when the gateway is killed. Alone on the machine: see vitest.config.ts. */
import { expect } from "vitest";
import { until } from "../../tools/wait.ts";
import { it } from "../support/own-site.ts";
import { chatBody } from "../support/site.ts";

it("a restart costs less than a second of silence", async ({ start }) => {
  const site = await start({ paceMs: 5 });
  const post = await site.chat("restarted", chatBody("restarted", 600)).answer;
  await until(async () => ((await site.row("restarted"))?.total_bytes ?? 0) > 10_000, "some seconds are stored");
  await site.restartGateway();
  const ready = Date.now();
  const rest = await site.get(`/v1/stream?conv_id=restarted&from=${post.length}`).answer;
  await rest.readUntil(1);
  const silenceMs = Date.now() - ready;
  console.log(`first new byte ${silenceMs} ms after the gateway was back`);
  expect(silenceMs).toBeLessThan(1_000);
  await rest.whole(60_000);
  expect(await site.row("restarted")).toMatchObject({ end: "done" });
});
