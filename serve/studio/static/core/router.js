/** The address of the page: which view is shown, and with what. */
import { withQuery } from "./api.js";
import { html } from "./html.js";
import { store } from "./store.js";

const ROOT = "/studio";

const PATHS = [
  ["create", /^\/?$/],
  ["library", /^\/library\/?$/],
  ["viewer", /^\/pictures\/(?<id>[\w.-]+)$/],
  ["compare", /^\/compare\/(?<a>[\w.-]+)\/(?<b>[\w.-]+)$/],
  ["review", /^\/review\/?$/],
  ["verify", /^\/verify\/?$/],
  ["queue", /^\/queue\/?$/],
  ["admin", /^\/admin\/?$/],
];

export const route = store(parse(location));

addEventListener("popstate", () => route.set(parse(location)));

/**
 * Go to a path such as `/studio/library?q=heart`; after `replace` back does not lead to where it
 * was before.
 */
export function go(path, { replace = false } = {}) {
  if (replace) history.replaceState(history.state, "", path);
  else history.pushState(null, "", path);
  const before = route.get().path;
  route.set(parse(location));
  if (!replace && route.get().path !== before) scrollTo(0, 0);
}

/** Change words of the query and stay in the view; null, undefined and "" remove a word. */
export function goWith(changes, { replace = true } = {}) {
  const { path, query } = route.get();
  go(withQuery(path, { ...query, ...changes }), { replace });
}

/** Paths of the views, for links. */
export const paths = {
  create: (query) => withQuery(ROOT, query),
  library: (query) => withQuery(`${ROOT}/library`, query),
  picture: (id, query) => withQuery(`${ROOT}/pictures/${id}`, query),
  compare: (a, b) => `${ROOT}/compare/${a}/${b}`,
  review: () => `${ROOT}/review`,
  verify: () => `${ROOT}/verify`,
  queue: () => `${ROOT}/queue`,
  admin: () => `${ROOT}/admin`,
};

/** Set the title of the window: what the view shows. */
export function setTitle(text) {
  document.title = text ? `${text} · Cascade Studio` : "Cascade Studio";
}

/** A link within the page; with a modifier key the browser does what it always does. */
export function Link({ href, replace, children, onClick, ...rest }) {
  const click = (event) => {
    onClick?.(event);
    const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey;
    if (!isPlain || event.altKey || event.defaultPrevented) return;
    event.preventDefault();
    go(href, { replace });
  };
  return html`<a href=${href} onClick=${click} ...${rest}>${children}</a>`;
}

function parse({ pathname, search }) {
  const inside = pathname.startsWith(ROOT) ? pathname.slice(ROOT.length) : "/missing";
  const query = Object.fromEntries(new URLSearchParams(search));
  for (const [view, pattern] of PATHS) {
    const match = pattern.exec(inside);
    if (match) return { view, params: { ...match.groups }, query, path: pathname };
  }
  return { view: "missing", params: {}, query, path: pathname };
}
