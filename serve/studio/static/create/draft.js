/** What the person has entered, until it is sent; it outlives a change of the view and a reload. */
import { field, operation } from "../core/models.js";
import { keptStore } from "../core/store.js";
import { pictureOperation, startingOperations } from "./offers.js";
import { variantsOf } from "./variants.js";

/**
 * A draft has the `values` of fields that differ from the defaults, by name, and may have a
 * `source`, a picture to start from: an upload, or one of the service with its `latentId`.
 */

export const draft = keptStore("draft", { kind: "", values: {}, source: null, isSeedLocked: false }, "sessionStorage");

export const change = (changes) => draft.update((now) => ({ ...now, ...changes }));

/** Set a field; undefined: the default. */
export const setValue = (name, value) =>
  draft.update((now) => ({ ...now, values: { ...now.values, [name]: value } }));

/** Return the kind of job that the draft is for; the model's first one at the beginning. */
export const kindOf = ({ kind }) => (operation(kind) ? kind : (startingOperations()[0]?.name ?? ""));

/** Return the field by which the draft's kind starts from a picture; null if it does not. */
export function sourceField(now) {
  const kind = kindOf(now);
  const names = now.source?.latentId ? ["image", "latent_id", "hero"] : ["image", "latent_id"];
  return names.find((name) => field(kind, name)) ?? null;
}

/** Return the body of the job, and the name of a `missing` field that it needs. */
export function bodyOf(now) {
  const kind = kindOf(now);
  const given = { ...now.values, ...sourceValues(now) };
  if (!now.isSeedLocked) delete given.seed;
  if (given.variants) given.variants = variantsOf(given.template, given.variants);
  // A picture of the service has a size.
  if (now.source && !now.source.isUpload) given.width = given.height = undefined;
  const fields = operation(kind)?.fields ?? [];
  const body = { kind };
  for (const { name } of fields) if (isGiven(given[name])) body[name] = given[name];
  const missing = fields.find(({ name, is_required }) => is_required && !(name in body));
  return { body, missing: missing?.name ?? null };
}

function isGiven(value) {
  const isEmpty = (typeof value === "string" ? value.trim() : value)?.length === 0;
  return value !== undefined && value !== null && !isEmpty;
}

function sourceValues(now) {
  const name = sourceField(now);
  if (!name || !now.source) return {};
  return { [name]: name === "image" ? now.source.id : now.source.latentId };
}

/** Start from an upload or a picture; null: from nothing again. */
export function setSource(source) {
  draft.update((now) => {
    const keeps = sourceField({ ...now, source }) !== null && source !== null;
    const begin = source ? pictureOperation() : startingOperations()[0];
    const values = { ...now.values, width: undefined, height: undefined };
    return { ...now, source, kind: keeps ? kindOf(now) : (begin?.name ?? ""), values };
  });
}
