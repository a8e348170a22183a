/** Which model is asked: a list where there is a choice, a name where there is none. */
import { el } from "../dom.ts";
import type { Model } from "../gateway.ts";

const CHOSEN = "holdfast model";

export function modelChoice(models: Promise<Model[]>, onChoice: (model: string | undefined) => void): HTMLElement {
  const place = el("div", { class: "model" });
  const choose = (model: string | undefined) => {
    onChoice(model);
    try {
      if (model) localStorage.setItem(CHOSEN, model);
    } catch {
      // The next page starts with the first model.
    }
  };
  models.then(
    (list) => {
      const kept = localStorage.getItem(CHOSEN);
      const chosen = list.find(({ id }) => id === kept) ?? list[0];
      if (list.length < 2) place.append(el("span", { title: chosen?.id ?? "" }, shortName(chosen?.id)));
      else place.append(choiceOf(list, chosen, choose));
      choose(chosen?.id);
    },
    () => place.append(el("span", {}, "no model in reach")),
  );
  return place;
}

function choiceOf(list: readonly Model[], chosen: Model | undefined, choose: (model: string) => void): HTMLElement {
  const select = el("select", { aria: { label: "Model" } });
  for (const { id } of list) {
    select.append(el("option", { value: id, selected: id === chosen?.id }, shortName(id)));
  }
  select.addEventListener("change", () => choose(select.value));
  return select;
}

/** llama-server names a model by its path where it was given no other name. */
function shortName(id = ""): string {
  return id.slice(id.lastIndexOf("/") + 1).replace(/\.gguf$/, "");
}
