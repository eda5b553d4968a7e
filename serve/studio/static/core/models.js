/** What the loaded model can do, from `GET /v1/models`; the page holds no rule of its own. */
import * as api from "./api.js";
import { store } from "./store.js";
import { textOr } from "./text.js";

/** It is loaded before the first view is shown, and again after a gap in the connection. */
export const model = store(null);

export async function loadModel() {
  const { data } = await api.get("/v1/models");
  model.set(data[0]);
}

/** Return what the model lists for a kind of job. */
export const operation = (kind) => model.get().operations.find((one) => one.name === kind);

/** Return a field of a kind of job; undefined where it has none of this name. */
export const field = (kind, name) => operation(kind)?.fields.find((one) => one.name === name);

/** Return a stage's title: in the person's language, else the model's own. */
export function stageTitle(name) {
  const stage = model.get().stages.find((one) => one.name === name);
  return textOr(`frame.stage.${name}`, stage?.title ?? name ?? "");
}
