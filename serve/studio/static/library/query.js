/** Words of a search that the page's menus set, such as `size:512x768`. */
import { withQuery } from "../core/api.js";
import { paths } from "../core/router.js";

const WORD = /-?"[^"]*"?|\S+/g;

/** The service takes 500 characters; the rest is for the days that the page adds. */
export const MOST_CHARACTERS = 440;

/** Return the value of the last `name:` of a search; or "". */
export function wordOf(q, name) {
  const words = q.match(WORD) ?? [];
  return words.findLast((word) => word.startsWith(`${name}:`))?.slice(name.length + 1) ?? "";
}

/** Set words of a search; "" removes one. */
export function withWords(q, changes) {
  const isChanged = (word) => Object.keys(changes).some((name) => word.startsWith(`${name}:`));
  const kept = (q.match(WORD) ?? []).filter((word) => !isChanged(word));
  const added = Object.entries(changes).filter(([, value]) => value);
  return [...kept, ...added.map(([name, value]) => `${name}:${value}`)].join(" ");
}

/** Return the address of a picture in the viewer, whose neighbours are in the order of a search. */
export const pictureHref = (id, q) => withQuery(paths.picture(id), { q });
