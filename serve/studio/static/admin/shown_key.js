/** A new key, which is shown this once: it outlives a change of the session, not of the page. */
import { html, useEffect, useRef } from "../core/html.js";
import { store } from "../core/store.js";
import { t } from "../core/text.js";
import { toast } from "../core/toast.js";
import { Button } from "../parts/button.js";
import { Dialog } from "../parts/dialog.js";
import { Field } from "../parts/field.js";

export const shownKey = store(null);

export function ShownKey({ made: { name, token } }) {
  const field = useRef(null);
  const copy = async () => {
    field.current?.select();
    try {
      await navigator.clipboard.writeText(token);
      toast(t("admin.key.copied"));
    } catch {
      // The page came over plain http, or the browser forbids it.
      toast(t("admin.key.copy_by_hand"));
    }
  };
  const close = () => shownKey.set(null);
  // The button that opened the form may be gone: the first key begins another session. Nothing
  // outside of the dialog takes the focus before the dialog has left the page.
  useEffect(() => () => void setTimeout(() => document.getElementById("admin-keys")?.focus()), []);
  const actions = html`<${Button} onClick=${close}>${t("admin.key.kept")}<//>
    <${Button} kind="primary" icon="copy" onClick=${copy}>${t("admin.key.copy")}<//>`;
  return html`<${Dialog} title=${t("admin.key.made", { name })} onClose=${close} actions=${actions}>
    <p class="notice">${t("admin.key.once")}</p>
    <${Field} label=${t("admin.key.token")}>
      ${(attributes) => html`<input class="input admin-token" ref=${field} readonly autofocus spellcheck=${false} autocomplete="off"
        value=${token} onFocus=${() => field.current?.select()} ...${attributes} />`}
    <//>
  <//>`;
}
