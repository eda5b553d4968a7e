// @ts-check
/** What the loaded model can do, from `GET /v1/models`; the page holds no rule of its own. */
import * as api from "./api.js";
import { store, useStore } from "./store.js";

/**
 * @typedef {object} Field
 * @property {string} name
 * @property {Record<string, any>} limits a JSON Schema
 * @property {Record<string, number>} words
 * @property {any[]} choices
 * @property {boolean} is_required
 * @property {any} default
 * @property {string | null} default_from
 *
 * @typedef {{name: string, title: string, stages: string[], fields: Field[]}} Operation
 * @typedef {{name: string, title: string, share: number, is_stored: boolean}} Stage
 * @typedef {{id: string, licence: string, defaults: Record<string, number>, sizes: any,
 *   suggestions: string[], takes_uploads: boolean, stages: Stage[], operations: Operation[]}} Model
 */

/** @type {import("./store.js").Store<Model | null>} null until it is loaded */
export const model = store(null);

/** Load the model; call it again after the service came back. */
export async function loadModel() {
  const { data } = await api.get("/v1/models");
  model.set(data[0] ?? null);
}

/** Return the loaded model, or null. */
export const useModel = () => useStore(model);

/** @param {string} kind @returns {Operation | undefined} what the model lists for a kind of job */
export const operation = (kind) => model.get()?.operations.find((one) => one.name === kind);

/**
 * @param {string} kind
 * @param {string} name
 * @returns {Field | undefined} undefined where a job of this kind has no such field
 */
export const field = (kind, name) => operation(kind)?.fields.find((one) => one.name === name);

/** @param {string | null} name @returns {string} a stage's title; the name where it is not known */
export const stageTitle = (name) =>
  model.get()?.stages.find((stage) => stage.name === name)?.title ?? name ?? "";
