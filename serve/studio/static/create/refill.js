/** Fills the box with the values of a job, or of the page's address. */
import { field, model, operation } from "../core/models.js";
import { imageUrl, thumbUrl } from "../parts/picture.js";
import { bodyOfJob, pictureSource } from "./actions.js";
import { showSheet } from "./jobs/asked_sheet.js";
import { change } from "./draft.js";
import { pictureOperation, startingOperations } from "./offers.js";

/** Fill the box with what a job was made of. */
export function reuse(job) {
  const { kind, image, latent_id, hero, variants, ...values } = bodyOfJob(job);
  const latentId = latent_id ?? hero;
  // New details of a picture have nothing to enter: the box gets what the picture was made of.
  if (latentId && !field(kind, "prompt") && !field(kind, "template")) {
    return reuse({ ...job, kind: startingOperations()[0].name });
  }
  const lines = variants?.map((one) => Object.values(one).join(" / ")).join("\n");
  const kept = { ...withoutDefaults(kind, values), variants: lines };
  change({ kind, values: kept, source: sourceOf(job, image, latentId), isSeedLocked: true });
}

function sourceOf(job, image, latentId) {
  const derived = job.images?.[0]?.derived_from;
  if (!image) return latentId ? pictureSource(derived?.image_id, latentId) : null;
  const isUpload = !derived?.image_id;
  return { id: image, isUpload, url: isUpload ? `/v1/uploads/${image}/content` : thumbUrl(image) };
}

function withoutDefaults(kind, values) {
  const changed = Object.entries(values).filter(([name, value]) => field(kind, name)?.default !== value);
  return Object.fromEntries(changed);
}

/**
 * Fill the box from the address: any field of a job by its name, `kind`, and `from`, the id of a
 * picture of the service to start from; or show the draft sheet of `job`, its id.
 */
export async function prefill({ job, kind = "", from, latent_id, ...query }) {
  if (job) return showSheet(job);
  const known = Object.entries(query).filter(([name]) => ownerOf(name));
  const values = Object.fromEntries(known.map(([name, text]) => [name, typed(name, text)]));
  const chosen = operation(kind)?.name ?? (from && pictureOperation()?.name) ?? "";
  const source = from ? pictureSource(from, latent_id ?? (await latentOf(from))) : null;
  change({ kind: chosen, values, source, isSeedLocked: "seed" in values });
}

const ownerOf = (name) => model.get().operations.find((one) => field(one.name, name));

/** Return a value of the address in the field's type. */
function typed(name, text) {
  const limits = field(ownerOf(name)?.name ?? "", name)?.limits ?? {};
  const { type } = limits.anyOf?.[0] ?? limits;
  const isNumber = type === "integer" || type === "number";
  return isNumber && text.trim() !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
}

async function latentOf(id) {
  const response = await fetch(imageUrl(id), { method: "HEAD" }).catch(() => null);
  return response?.headers.get("x-latent-id") ?? undefined;
}
