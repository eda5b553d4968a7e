/** What the service does now, its keys, and the browsers that are signed in with the caller's. */
import { html } from "../core/html.js";
import { isKeyless, may } from "../core/session.js";
import { t } from "../core/text.js";
import { Empty } from "../parts/empty.js";
import { Keys } from "./keys.js";
import { Sessions } from "./sessions.js";
import { Status } from "./status.js";

export default function Admin() {
  const isAdmin = may("admin");
  return html`<div class="view admin">
    <h1>${t("admin.title")}</h1>
    ${isAdmin && html`<${Status} /><${Keys} />`}
    ${!isKeyless() && html`<${Sessions} />`}
    ${!isAdmin && html`<${Empty} icon="lock" title=${t("admin.forbidden")} text=${t("admin.forbidden.text")} />`}
  </div>`;
}
