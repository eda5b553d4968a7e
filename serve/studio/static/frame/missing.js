/** The view of an address that leads nowhere. */
import { html } from "../core/html.js";
import { paths } from "../core/router.js";
import { t } from "../core/text.js";
import { ButtonLink } from "../parts/button.js";
import { Empty } from "../parts/empty.js";

export default function Missing() {
  return html`<div class="view">
    <h1>${t("frame.missing")}</h1>
    <${Empty} icon="search" title=${t("frame.missing.text")}>
      <${ButtonLink} href=${paths.create()} icon="create">${t("frame.missing.action")}<//>
    <//>
  </div>`;
}
