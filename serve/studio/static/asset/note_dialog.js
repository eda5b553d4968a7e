/** Asks why a picture is rejected. */
import { html, useState } from "../core/html.js";
import { t } from "../core/text.js";
import { Button } from "../parts/button.js";
import { Dialog } from "../parts/dialog.js";
import { Field } from "../parts/field.js";

const MOST_CHARACTERS = 2000;

export function NoteDialog({ busy, onDone, onClose }) {
  const [note, setNote] = useState("");
  const isReady = note.trim() !== "";
  const send = () => isReady && onDone(note.trim());
  const press = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send();
  };
  const actions = html`<${Button} onClick=${onClose}>${t("frame.cancel")}<//>
    <${Button} kind="danger" disabled=${!isReady} busy=${busy} onClick=${send}>${t("asset.action.reject")}<//>`;
  return html`<${Dialog} title=${t("asset.reject_title")} onClose=${onClose} actions=${actions}>
    <${Field} label=${t("asset.reason")} hint=${t("asset.reason_hint")}>
      ${(attributes) => html`<textarea class="input" rows="4" autofocus maxlength=${MOST_CHARACTERS} value=${note}
        onInput=${(event) => setNote(event.currentTarget.value)} onKeyDown=${press} ...${attributes}></textarea>`}
    <//>
  <//>`;
}
