// @ts-check
/** A modal dialog: the browser keeps the focus inside and gives it back. */
import { html, useEffect, useRef, useState } from "../core/html.js";
import { t } from "../core/text.js";
import { Button, IconButton } from "./button.js";

let count = 0;

/**
 * @param {object} props
 * @param {boolean} props.open
 * @param {() => void} props.onClose also by Escape and by a press outside
 * @param {string} props.title its heading and accessible name
 * @param {any} [props.children]
 * @param {any} [props.actions] buttons at its end; the primary one last
 * @param {"small" | "wide"} [props.size]
 */
export function Dialog({ open, onClose, title, children, actions, size = "small" }) {
  const [id] = useState(() => `dialog-${++count}`);
  const element = useRef(null);
  useEffect(() => {
    const dialog = element.current;
    dialog?.showModal();
    return () => dialog?.close();
  }, [open]);
  if (!open) return null;
  const press = (event) => event.target === element.current && onClose();
  const cancel = (event) => {
    event.preventDefault();
    onClose();
  };
  return html`<dialog ref=${element} class="dialog ${size}" aria-labelledby=${id} onCancel=${cancel} onMouseDown=${press}>
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

/**
 * A question before something that cannot be undone.
 * @param {object} props
 * @param {boolean} props.open
 * @param {string} props.title the question
 * @param {string} [props.text] what will happen
 * @param {string} props.label of the button that does it: a verb
 * @param {boolean} [props.isDangerous]
 * @param {boolean} [props.busy]
 * @param {() => void} props.onConfirm
 * @param {() => void} props.onClose
 */
export function Confirm({ open, title, text, label, isDangerous = true, busy, onConfirm, onClose }) {
  const actions = html`<${Button} onClick=${onClose}>${t("frame.cancel")}<//>
    <${Button} kind=${isDangerous ? "danger" : "primary"} busy=${busy} onClick=${onConfirm}>${label}<//>`;
  return html`<${Dialog} open=${open} title=${title} onClose=${onClose} actions=${actions}>
    ${text && html`<p>${text}</p>`}
  <//>`;
}
