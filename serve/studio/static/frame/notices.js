/** What the page says at its edges: the state of the connection, and short messages. */
import { html, useEffect, useState } from "../core/html.js";
import { connection, reconnect } from "../core/live.js";
import { useStore } from "../core/store.js";
import { t } from "../core/text.js";
import { announcement, dismiss, toasts } from "../core/toast.js";
import { Button, IconButton } from "../parts/button.js";

const PATIENCE_MS = 2000;

/** Says that the connection is lost, once that lasts. */
export function ConnectionBanner() {
  const state = useStore(connection);
  const [isShown, setShown] = useState(false);
  const isLive = state === "live";
  useEffect(() => {
    if (isLive) return setShown(false);
    const timer = setTimeout(() => setShown(true), PATIENCE_MS);
    return () => clearTimeout(timer);
  }, [isLive]);
  return html`<div role="status">
    ${isShown && html`<div class="banner">
      <span>${t(`frame.connection.${state}`)}</span>
      <${Button} class="small" onClick=${reconnect}>${t("frame.retry")}<//>
    </div>`}
  </div>`;
}

/** The messages, in the page's only polite live region beside the connection's. */
export function Toasts() {
  const shown = useStore(toasts);
  const said = useStore(announcement);
  return html`<section class="toasts" aria-label=${t("frame.messages")}>
    <div aria-live="polite">
      <p class="visually-hidden" key="said ${said.id}">${said.text}</p>
      ${shown.map((one) => html`<${Message} key=${one.id} toast=${one} />`)}
    </div>
  </section>`;
}

function Message({ toast }) {
  const end = () => dismiss(toast.id);
  const act = () => {
    end();
    toast.action();
  };
  return html`<div class="toast ${toast.kind}">
    <span>${toast.text}</span>
    ${toast.action && html`<${Button} kind="quiet" class="small" onClick=${act}>${toast.label}<//>`}
    <${IconButton} icon="close" class="small" label=${t("frame.dismiss")} onClick=${end} />
  </div>`;
}
