/** Adds a tag to pictures, or removes it. */
import { html, useState } from "../../core/html.js";
import { t } from "../../core/text.js";
import { Button } from "../../parts/button.js";
import { Dialog } from "../../parts/dialog.js";
import { TextField } from "../../parts/field.js";

export function TagDialog({ count, busy, change, onClose }) {
  const [text, setText] = useState("");
  const tag = text.trim();
  const submit = (event) => {
    event.preventDefault();
    if (tag) change("tag", tag);
  };
  const actions = html`<${Button} disabled=${!tag} busy=${busy} onClick=${() => change("untag", tag)}>${t("library.untag")}<//>
    <${Button} kind="primary" disabled=${!tag} busy=${busy} onClick=${() => change("tag", tag)}>${t("library.tag")}<//>`;
  return html`<${Dialog} title=${t("library.tag_title", { count })} onClose=${onClose} actions=${actions}>
    <form onSubmit=${submit}>
      <${TextField} label=${t("library.tag_label")} value=${text} onChange=${setText} autofocus maxlength="40" />
    </form>
  <//>`;
}
