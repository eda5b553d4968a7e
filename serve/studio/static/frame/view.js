/** Loads a view with its styles and sentences when it is opened. */
import { html, useEffect, useState } from "../core/html.js";
import { setTitle } from "../core/router.js";
import { loadText, textOr } from "../core/text.js";
import { Failure } from "../parts/empty.js";
import { Skeleton } from "../parts/skeleton.js";

/** By view: its module and its styles, from here, and its files of sentences. */
const VIEWS = {
  admin: { module: "../admin/admin.js", styles: "../admin/admin.css", texts: ["admin"] },
  compare: { module: "../viewer/compare.js", styles: "../viewer/viewer.css", texts: ["viewer", "create"] },
  create: { module: "../create/create.js", styles: "../create/create.css", texts: ["create"] },
  review: { module: "../review/review.js", styles: ["../review/review.css", "../asset/asset.css"], texts: ["asset"] },
  library: { module: "../library/library.js", styles: ["../library/library.css", "../asset/asset.css"], texts: ["library", "create", "asset"] },
  missing: { module: "./missing.js", styles: null, texts: [] },
  queue: { module: "../queue/queue.js", styles: "../queue/queue.css", texts: ["queue", "create"] },
  signin: { module: "../signin/signin.js", styles: "../signin/signin.css", texts: ["signin"] },
  verify: { module: "../verify/verify.js", styles: "../verify/verify.css", texts: ["verify"] },
  viewer: { module: "../viewer/viewer.js", styles: ["../viewer/viewer.css", "../asset/asset.css"], texts: ["viewer", "create", "asset"] },
};

let isFirst = true;

/**
 * A view, which is loaded if it was not yet. The focus goes to its heading, but not when the page
 * begins.
 */
export function LoadedView({ name, params = {}, query = {} }) {
  const [loaded, setLoaded] = useState({});
  const isLoaded = loaded.name === name;
  useEffect(() => {
    let isWanted = true;
    loadView(name).then(
      (View) => {
        if (!isWanted) return;
        setTitle(textOr(`frame.${name}`, ""));
        setLoaded({ name, View });
      },
      () => isWanted && setLoaded({ name, View: NotLoaded }),
    );
    return () => {
      isWanted = false;
    };
  }, [name]);
  useEffect(() => {
    if (!isLoaded) return;
    if (!isFirst && name !== "signin") focusHeading();
    isFirst = false;
  }, [isLoaded, name, Object.values(params).join()]);

  if (!isLoaded) return html`<div class="view" aria-busy="true"><${Skeleton} width="40%" height="2em" /></div>`;
  return html`<${loaded.View} params=${params} query=${query} />`;
}

/** Load a view, if it was not yet. */
export async function loadView(name) {
  const { module, styles, texts } = VIEWS[name];
  const [view] = await Promise.all([import(module), ...[styles ?? []].flat().map(loadStyles), ...texts.map(loadText)]);
  return view.default;
}

const sheets = new Map();

function loadStyles(path) {
  if (!sheets.has(path)) sheets.set(path, linked(new URL(path, import.meta.url).href));
  return sheets.get(path);
}

function linked(href) {
  return new Promise((resolve) => {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = href;
    link.onload = link.onerror = () => resolve();
    document.head.append(link);
  });
}

function focusHeading() {
  const heading = document.querySelector("#app h1");
  if (!(heading instanceof HTMLElement)) return;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

/** After an upgrade of the service, files of an open page are gone. */
function NotLoaded() {
  return html`<${Failure} error=${{ code: "not_loaded" }} onRetry=${() => location.reload()} />`;
}
