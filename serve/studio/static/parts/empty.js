/** States without content: one sentence and one action each. */
import { html } from "../core/html.js";
import { errorSentence } from "../core/toast.js";
import { t } from "../core/text.js";
import { Button } from "./button.js";
import { Icon } from "./icon.js";

/** The children are the action. */
export function Empty({ icon = "image", title, text, children }) {
  return html`<div class="empty">
    <${Icon} name=${icon} size=${36} />
    <p class="empty-title">${title}</p>
    ${text && html`<p>${text}</p>`}
    ${children}
  </div>`;
}

/** Why something could not be shown, with a button that tries again. */
export function Failure({ error, onRetry }) {
  const icon = error?.code === "offline" ? "warning" : "info";
  return html`<div class="empty" role="alert">
    <${Icon} name=${icon} size=${36} />
    <p class="empty-title">${errorSentence(error)}</p>
    ${onRetry && html`<${Button} icon="redo" onClick=${onRetry}>${t("frame.retry")}<//>`}
  </div>`;
}
