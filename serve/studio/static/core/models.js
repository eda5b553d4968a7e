/** What the loaded model can do, from `GET /v1/models`; the page holds no rule of its own. */
import * as api from "./api.js";
import { store, useStore } from "./store.js";

/** Null until it is loaded. */
export const model = store(null);

/** Load the model; call it again after the service came back. */
export async function loadModel() {
  const { data } = await api.get("/v1/models");
  model.set(data[0] ?? null);
}

/** Return the loaded model, or null. */
export const useModel = () => useStore(model);

/** Return what the model lists for a kind of job. */
export const operation = (kind) => model.get()?.operations.find((one) => one.name === kind);

/** Return a field of a kind of job; undefined where it has none of this name. */
export const field = (kind, name) => operation(kind)?.fields.find((one) => one.name === name);

/** Return a stage's title; the name where it is not known. */
export const stageTitle = (name) =>
  model.get()?.stages.find((stage) => stage.name === name)?.title ?? name ?? "";
