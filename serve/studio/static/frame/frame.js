/** Navigation, notices, and the view between them. */
import { html, useEffect } from "../core/html.js";
import { Link, go, paths, route } from "../core/router.js";
import { isKeyless, may } from "../core/session.js";
import { useShortcuts } from "../core/shortcuts.js";
import { store, useStore } from "../core/store.js";
import { t } from "../core/text.js";
import { loadSubmitted, submitted } from "../asset/submitted.js";
import { Icon } from "../parts/icon.js";
import { Lazy } from "../parts/lazy.js";
import { ConnectionBanner, Toasts } from "./notices.js";
import { LoadedView } from "./view.js";

const ITEMS = [
  { view: "create", icon: "create", path: paths.create(), scope: "read" },
  { view: "library", icon: "library", path: paths.library(), scope: "read" },
  { view: "review", icon: "check", path: paths.review(), scope: "review" },
  { view: "queue", icon: "queue", path: paths.queue(), scope: "read" },
  { view: "admin", icon: "admin", path: paths.admin(), scope: "admin" },
];

/** The dialog that is open; it stays when the frame is drawn anew in another language. */
const openDialog = store("");

/** The page of a person who is signed in. */
export function Frame() {
  const { view, params, query } = useStore(route);
  const dialog = useStore(openDialog);
  const setDialog = openDialog.set;
  const items = ITEMS.filter((item) => may(item.scope));
  const keys = { "?": () => setDialog("shortcuts") };
  for (const item of items) keys[item.view[0]] = () => go(item.path);
  useShortcuts(keys, "frame");
  useEffect(() => void loadSubmitted(), [view]);
  const close = () => setDialog("");

  return html`<div class="frame">
    <a class="skip" href="#main">${t("frame.skip")}</a>
    <${Rail} items=${items} view=${view} onMenu=${() => setDialog("settings")} />
    <main id="main" class="main" tabindex="-1">
      <${ConnectionBanner} />
      <${LoadedView} name=${view} params=${params} query=${query} />
    </main>
    <${Toasts} />
    ${dialog === "settings" && html`<${Lazy} load=${() => import("./settings.js")} onClose=${close} onShortcuts=${() => setDialog("shortcuts")} />`}
    ${dialog === "shortcuts" && html`<${Lazy} load=${() => import("./shortcuts_dialog.js")} onClose=${close} />`}
  </div>`;
}

function Rail({ items, view, onMenu }) {
  const waiting = useStore(submitted);
  const shown = view === "viewer" || view === "compare" ? "library" : view;
  return html`<nav class="rail" aria-label=${t("frame.navigation")}>
    <${Link} class="brand" href=${paths.create()}><${Icon} name="create" size=${22} />${t("frame.name")}<//>
    <ul>
      ${items.map((item) => html`<li key=${item.view}>
        <${Link} class="rail-item" href=${item.path} aria-current=${item.view === shown ? "page" : undefined}>
          <${Icon} name=${item.icon} /><span>${t(`frame.${item.view}`)}</span>
          ${item.view === "review" && waiting > 0 && html`<span class="rail-count">${waiting}</span>`}
        <//>
      </li>`)}
      <li>
        <button type="button" class="rail-item" aria-haspopup="dialog" onClick=${onMenu}>
          <${Icon} name="account" /><span>${t("frame.account")}</span>
        </button>
        ${isKeyless() && html`<p class="keyless">${t("frame.keyless")}</p>`}
      </li>
    </ul>
  </nav>`;
}
