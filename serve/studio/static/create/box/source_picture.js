/** The picture to start from, or a button that chooses one. */
import { html, useRef } from "../../core/html.js";
import { Link, paths } from "../../core/router.js";
import { t } from "../../core/text.js";
import { IconButton } from "../../parts/button.js";
import { Icon } from "../../parts/icon.js";
import { setSource } from "../draft.js";
import { send, takesUploads } from "./dropped.js";

export default function SourcePicture({ source, field }) {
  const input = useRef(null);
  // The button goes with the picture.
  const remove = (event) => {
    event.currentTarget.form.querySelector("textarea")?.focus();
    setSource(null);
  };
  if (source) {
    return html`<span class="source">
      <img src=${source.url} alt=${t("create.source")} />
      <${IconButton} icon="close" class="small" label=${t("create.source.remove")} onClick=${remove} />
    </span>`;
  }
  if (!takesUploads() || field !== "image") {
    return html`<${Link} class="source empty-source" href=${paths.library()} aria-label=${t("create.source.library")}
      title=${t("create.source.library")}><${Icon} name="library" /><//>`;
  }
  const chosen = (event) => {
    send(event.target.files[0]);
    event.target.value = "";
  };
  return html`<button type="button" class="source empty-source" name="image" onClick=${() => input.current.click()}
      aria-label=${t("create.source.choose")} title=${t("create.source.choose")}>
      <${Icon} name="image" />
    </button>
    <input ref=${input} type="file" accept="image/*" hidden tabindex="-1" aria-label=${t("create.source.choose")} onChange=${chosen} />`;
}
