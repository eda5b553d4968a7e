// @ts-check
/** Words of a search that the page's menus set, such as `size:512x768`. */
import { withQuery } from "../core/api.js";
import { paths } from "../core/router.js";

const WORD = /-?"[^"]*"?|\S+/g;

/** The service takes 500 characters; the rest is for the days that the page adds. */
export const MOST_CHARACTERS = 440;

/** @param {string} q @param {string} name @returns {string} the value of its last `name:`; or "" */
export function wordOf(q, name) {
  const words = q.match(WORD) ?? [];
  return words.findLast((word) => word.startsWith(`${name}:`))?.slice(name.length + 1) ?? "";
}

/**
 * Set words of a search.
 * @param {string} q
 * @param {Record<string, string>} changes by name; "" removes the word
 * @returns {string}
 */
export function withWords(q, changes) {
  const isChanged = (word) => Object.keys(changes).some((name) => word.startsWith(`${name}:`));
  const kept = (q.match(WORD) ?? []).filter((word) => !isChanged(word));
  const added = Object.entries(changes).filter(([, value]) => value);
  return [...kept, ...added.map(([name, value]) => `${name}:${value}`)].join(" ");
}

/**
 * Return the address of a picture in the viewer.
 * @param {string} id
 * @param {string} q the search in whose order its neighbours are shown
 */
export const pictureHref = (id, q) => withQuery(paths.picture(id), { q });
