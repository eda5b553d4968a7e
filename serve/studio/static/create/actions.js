/** What the model can make of a finished picture, and of a job's values. */
import { field, model, operation } from "../core/models.js";
import { textOr } from "../core/text.js";
import { thumbUrl } from "../parts/picture.js";
import { fieldOf } from "./offers.js";

/**
 * Return what the model can make of a picture: one action for each word of a strength, a larger
 * picture of the same aspect, and last a remix where the prompt may be changed, which has no body.
 */
export function actionsOf(image) {
  const operations = model.get().operations;
  const found = operations
    .filter((one) => fieldOf(one, "latent_id")?.is_required)
    .flatMap((one) => (fieldOf(one, "width") ? largerOf(one, image) : variationsOf(one, image)));
  return found.sort((a, b) => Number(a.body === null) - Number(b.body === null));
}

function action(one, id, body, values = {}) {
  return { id, kind: one.name, body, label: textOr(`create.action.${id}`, one.title, values) };
}

function variationsOf(one, { latent_id }) {
  const base = { kind: one.name, latent_id };
  const words = Object.keys(fieldOf(one, "strength")?.words ?? {});
  const actions = words.map((word) => action(one, `${one.name}.${word}`, { ...base, strength: word }));
  if (words.length === 0) actions.push(action(one, one.name, base));
  if (fieldOf(one, "prompt")) actions.push(action(one, `${one.name}.remix`, null));
  return actions;
}

function largerOf(one, image) {
  const size = largerSize(one.name, image);
  if (!size) return [];
  const { latent_id, decoder_seed } = image;
  const body = { kind: one.name, latent_id, ...size };
  if (fieldOf(one, "decoder_seed")) body.decoder_seed = decoder_seed;
  const values = { width: String(size.width), height: String(size.height) };
  return [action(one, `${one.name}.larger`, body, values)];
}

/**
 * Return the largest size of a picture's aspect up to 1.5 times its own, as details are drawn well
 * up to there; without one the next larger, and undefined if there is none.
 */
function largerSize(kind, { width, height }) {
  const heights = new Set(field(kind, "height")?.choices);
  const sizes = (field(kind, "width")?.choices ?? [])
    .map((side) => ({ width: side, height: (side * height) / width }))
    .filter((size) => size.width > width && heights.has(size.height));
  return sizes.filter((size) => size.width <= width * 1.5).at(-1) ?? sizes[0];
}

/**
 * Return the body that asks for the same as a job again, with every value decided; if it `isNew`,
 * with other seeds.
 */
export function bodyOfJob({ kind, request }, { isNew = false } = {}) {
  const named = { ...request, template: request.prompt, hero: request.latent_id };
  const body = { kind };
  for (const { name } of operation(kind)?.fields ?? []) {
    const isLeftOut = isNew && (name === "seed" || name === "decoder_seed");
    if (named[name] !== null && named[name] !== undefined && !isLeftOut) body[name] = named[name];
  }
  return body;
}

/** Return a picture of the service as one to start from. */
export const pictureSource = (id, latentId) => ({ id, url: thumbUrl(id), isUpload: false, latentId });
