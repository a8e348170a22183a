/** The gateway started on the storage folder of an older one: see test/fixtures/storage-f3dd977. */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Gateway, startGateway } from "../../tools/gateway.ts";
import { until } from "../../tools/wait.ts";
import { workerBundle } from "../support/bundle.ts";
import { send } from "../support/http.ts";
import { OLD_DATABASES, oldAnswer, oldDump } from "../support/old-storage.ts";
import { startOrigin, type TestOrigin } from "../support/origin.ts";
import { KEY } from "../support/site.ts";

const HEADERS = { authorization: `Bearer ${KEY}` };
const STORED_BYTES = 19_906;

let storage: string;
let gateway: Gateway;
let origin: TestOrigin;

beforeAll(async () => {
  storage = await mkdtemp(join(tmpdir(), "holdfast-old-"));
  await writeOldStorage(join(storage, "state/holdfast-Conversation"));
  // It never heard of the answer that was live.
  origin = await startOrigin();
  gateway = await startGateway({
    bundle: await workerBundle(),
    origin: origin.url,
    apiKeys: `alice=${KEY}`,
    storage,
  });
});
afterAll(async () => {
  await gateway?.kill();
  await origin?.kill();
  await rm(storage, { recursive: true, force: true });
});

/** As if it had been left a minute ago: else what is in it would have expired. */
async function writeOldStorage(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const aMinuteAgo = Date.now() - 60_000;
  for (const name of ["live", "ended", "metadata"] as const) {
    const database = new DatabaseSync(join(folder, `${OLD_DATABASES[name]}.sqlite`));
    database.exec(oldDump(name));
    if (name !== "metadata") {
      const times = name === "live" ? "'$.startedAt', ?1" : "'$.startedAt', ?1, '$.completedAt', ?1";
      database.prepare(`UPDATE log SET record = json_set(record, ${times}) WHERE key = -1`).run(aMinuteAgo);
    }
    database.close();
  }
}

async function replay(id: string, from = 0) {
  const answer = await send("GET", `${gateway.url}/v1/stream?conv_id=${id}&from=${from}`, { headers: HEADERS }).answer;
  return { status: answer.status, text: (await answer.whole(20_000)).toString() };
}

async function rowOf(id: string): Promise<{ end: string | null } | undefined> {
  const body = { conversation_ids: [id] };
  const answer = await send("POST", `${gateway.url}/v1/streams/lookup`, { headers: HEADERS, body }).answer;
  return ((await answer.json()) as { end: string | null }[])[0];
}

describe("a gateway on the storage of one from before versions", () => {
  it("replays the answer that had ended, to the byte", async () => {
    expect(await replay("ended")).toEqual({ status: 200, text: oldAnswer() });
    const row = await until(() => rowOf("ended"), "the tenant's index names it");
    expect(row).toMatchObject({ end: "done", session: "3ae246e9-cc3a-47f1-8576-7429616e8da6" });
  });

  it("ends the answer that was live by name, with all that was stored of it", async () => {
    await until(async () => (await rowOf("live"))?.end === "origin_lost", "the answer is given up");
    const { text } = await replay("live");
    expect(text.slice(STORED_BYTES)).toMatch(/^data: {"error":{"code":502,.*"type":"origin_lost"}}\n\n$/);
    expect((await replay("live", STORED_BYTES + 1)).status).toBe(400);
  });

  it("takes new requests for both", async () => {
    for (const id of ["live", "ended"]) {
      const body = { messages: [{ role: "user", content: "again" }], stream: true, max_tokens: 3 };
      const headers = { ...HEADERS, "x-conversation-id": id };
      const answer = await send("POST", `${gateway.url}/v1/chat/completions`, { headers, body }).answer;
      expect((await answer.whole(20_000)).toString()).toMatch(/data: \[DONE\]\n\n$/);
    }
  });
});
