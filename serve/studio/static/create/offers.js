/** How a person can begin, as the model lists it: kinds of job and sizes. */
import { field, model, operation } from "../core/models.js";
import { textOr } from "../core/text.js";

export const fieldOf = (one, name) => one.fields.find((field) => field.name === name);

/** Return the operations that need no stored latent, in the model's order. */
export const startingOperations = () =>
  model.get().operations.filter((one) => !fieldOf(one, "latent_id")?.is_required);

/** Return the operation that starts from a picture. */
export const pictureOperation = () => startingOperations().find((one) => fieldOf(one, "image"));

/** Return what jobs of a kind make, for people. */
export function kindTitle(kind) {
  return textOr(`create.kind.${kind}`, operation(kind)?.title ?? kind);
}

const ASPECTS = ["1:1", "4:3", "3:4", "3:2", "2:3", "16:9", "9:16"];
const MOST_ERROR = 0.16;

/**
 * Return sizes to choose from: for each usual aspect the model's closest one near its usual area.
 */
export function sizesOf(kind) {
  const heights = field(kind, "height")?.choices ?? [];
  const all = (field(kind, "width")?.choices ?? []).flatMap((width) =>
    heights.map((height) => ({ width, height })),
  );
  const { width, height } = model.get().defaults ?? all[0];
  const found = new Map();
  for (const name of ASPECTS) {
    const [across, up] = name.split(":").map(Number);
    const aspectError = (size) => Math.abs(Math.log((size.width * up) / size.height / across));
    const areaError = (size) => Math.abs(Math.log((size.width * size.height) / width / height));
    const error = (size) => 2 * aspectError(size) + areaError(size);
    const [best] = all.sort((a, b) => error(a) - error(b));
    const key = best && `${best.width} ${best.height}`;
    if (best && aspectError(best) < MOST_ERROR && !found.has(key)) found.set(key, { name, ...best });
  }
  return [...found.values()];
}
