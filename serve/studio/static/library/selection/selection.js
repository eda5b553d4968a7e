/**
 * Which pictures of a search are selected: those that are named, or all but those. Its `ids` name
 * the ones or the others.
 */
import * as api from "../../core/api.js";

const PAGE = 200;

export const NOTHING = { isInverted: false, ids: new Set() };
export const ALL = { isInverted: true, ids: new Set() };

export const isSelected = ({ isInverted, ids }, id) => ids.has(id) !== isInverted;

/** Return how many of the pictures that the search finds are selected. */
export const countOf = ({ isInverted, ids }, total) => (isInverted ? total - ids.size : ids.size);

export const inverted = ({ isInverted, ids }) => ({ isInverted: !isInverted, ids });

export function toggled(selection, id) {
  return withPictures(selection, [id], !isSelected(selection, id));
}

/** Return a selection with some pictures, or without them. */
export function withPictures({ isInverted, ids }, changed, areSelected) {
  const next = new Set(ids);
  for (const id of changed) {
    if (areSelected !== isInverted) next.add(id);
    else next.delete(id);
  }
  return { isInverted, ids: next };
}

/** Return the ids of the selected pictures; those that are only known by the search are listed. */
export async function idsOf({ isInverted, ids }, q) {
  if (!isInverted) return [...ids];
  const found = [];
  let cursor = "";
  do {
    const page = await api.get("/v1/library", { query: { q, cursor, limit: PAGE } });
    for (const { id } of page.items) if (!ids.has(id)) found.push(id);
    cursor = page.next_cursor;
  } while (cursor);
  return found;
}
