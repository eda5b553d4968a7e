// @ts-check
/** Which pictures of a search are selected: those that are named, or all but those. */
import * as api from "../../core/api.js";

const PAGE = 200;

/**
 * @typedef {object} Selection
 * @property {boolean} isInverted all pictures are selected but the named ones
 * @property {ReadonlySet<string>} ids the named pictures
 */

/** @type {Selection} */
export const NOTHING = { isInverted: false, ids: new Set() };
/** @type {Selection} */
export const ALL = { isInverted: true, ids: new Set() };

/** @param {Selection} selection @param {string} id */
export const isSelected = ({ isInverted, ids }, id) => ids.has(id) !== isInverted;

/** @param {Selection} selection @param {number} total pictures that the search finds */
export const countOf = ({ isInverted, ids }, total) => (isInverted ? total - ids.size : ids.size);

/** @param {Selection} selection @returns {Selection} */
export const inverted = ({ isInverted, ids }) => ({ isInverted: !isInverted, ids });

/** @param {Selection} selection @param {string} id @returns {Selection} */
export function toggled(selection, id) {
  return withPictures(selection, [id], !isSelected(selection, id));
}

/**
 * Select pictures, or no longer.
 * @param {Selection} selection
 * @param {string[]} changed ids
 * @param {boolean} areSelected
 * @returns {Selection}
 */
export function withPictures({ isInverted, ids }, changed, areSelected) {
  const next = new Set(ids);
  for (const id of changed) {
    if (areSelected !== isInverted) next.add(id);
    else next.delete(id);
  }
  return { isInverted, ids: next };
}

/**
 * Return the ids of the selected pictures; those that are only known by the search are listed.
 * @param {Selection} selection
 * @param {string} q
 * @returns {Promise<string[]>}
 */
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
