/** A modal dialog: the browser keeps the focus inside and gives it back. */
import { html, useEffect, useRef, useState } from "../core/html.js";
import { t } from "../core/text.js";
import { Button, IconButton } from "./button.js";

let count = 0;

/** Its title is also its accessible name; the primary one of its actions comes last. */
export function Dialog({ onClose, title, children, actions }) {
  const [id] = useState(() => `dialog-${++count}`);
  const element = useRef(null);
  useEffect(() => {
    const dialog = element.current;
    dialog?.showModal();
    return () => dialog?.close();
  }, []);
  const press = (event) => event.target === element.current && onClose();
  const cancel = (event) => {
    event.preventDefault();
    onClose();
  };
  return html`<dialog ref=${element} class="dialog" aria-labelledby=${id} onCancel=${cancel} onMouseDown=${press}>
    <div class="dialog-inside">
      <header>
        <h2 id=${id}>${title}</h2>
        <${IconButton} icon="close" label=${t("frame.close")} onClick=${onClose} />
      </header>
      <div class="dialog-content">${children}</div>
      ${actions && html`<footer>${actions}</footer>`}
    </div>
  </dialog>`;
}

/** A question before something that cannot be undone; the label of the button is a verb. */
export function Confirm({ title, text, label, busy, onConfirm, onClose }) {
  const actions = html`<${Button} onClick=${onClose}>${t("frame.cancel")}<//>
    <${Button} kind="danger" busy=${busy} onClick=${onConfirm}>${label}<//>`;
  return html`<${Dialog} title=${title} onClose=${onClose} actions=${actions}>
    ${text && html`<p>${text}</p>`}
  <//>`;
}
