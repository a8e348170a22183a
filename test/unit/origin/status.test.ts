import { beforeEach, expect, it, vi } from "vitest";
import { originStatus } from "../../../src/origin/status.ts";
import { OriginServer } from "../support/origin-servers.ts";

beforeEach(() => {
  vi.spyOn(console, "log").mockReturnValue();
});

it("the status of the origins says who is there, with which models, and how many slots are busy", async () => {
  const [attic, cellar, shed] = [new OriginServer(), new OriginServer(), new OriginServer()];
  attic.serve({ qwen: "loaded", gemma: "unloaded" });
  const { answer } = attic;
  attic.answer = (request) =>
    request.url.endsWith("/slots")
      ? Response.json([{ is_processing: true }, { is_processing: false }])
      : answer(request);
  cellar.answer = ({ url }) => (url.endsWith("/slots") ? new Response("<html>") : new Response(null, { status: 404 }));
  shed.die();
  const origins = [attic.config("attic", { weight: 2 }), cellar.config("cellar"), shed.config("shed")];
  expect(await originStatus(origins)).toEqual([
    {
      ...{ name: "attic", state: "there", weight: 2, models: { qwen: "loaded", gemma: "unloaded" } },
      slots: { total: 2, busy: 1 },
    },
    { name: "cellar", state: "there", weight: 1, models: undefined, slots: undefined },
    { name: "shed", state: "away", weight: 1, models: undefined, slots: undefined },
  ]);
});
