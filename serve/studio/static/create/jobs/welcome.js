/** What is shown before the first job: prompts to begin with, or that the key may make nothing. */
import { html } from "../../core/html.js";
import { model } from "../../core/models.js";
import { paths } from "../../core/router.js";
import { may } from "../../core/session.js";
import { t } from "../../core/text.js";
import { Button, ButtonLink } from "../../parts/button.js";
import { Empty } from "../../parts/empty.js";
import { setValue } from "../draft.js";

const SUGGESTIONS = 4;

export default function Welcome({ onUse }) {
  if (!may("create")) {
    return html`<${Empty} title=${t("create.look_only")}>
      <${ButtonLink} href=${paths.library()} icon="library">${t("frame.library")}<//>
    <//>`;
  }
  const suggestions = model.get().suggestions.slice(0, SUGGESTIONS);
  const take = (prompt) => {
    setValue("prompt", prompt);
    onUse();
  };
  return html`<${Empty} icon="create" title=${t("create.welcome")} text=${t("create.welcome.text")}>
    <ul class="suggestions">
      ${suggestions.map((prompt) => html`<li key=${prompt}><${Button} class="small" onClick=${() => take(prompt)}>${prompt}<//></li>`)}
    </ul>
  <//>`;
}
