/** The dialog behind "Account": who is signed in, the theme, the language. */
import { html } from "../core/html.js";
import { Link, paths } from "../core/router.js";
import { isKeyless, session, signOut } from "../core/session.js";
import { useStore } from "../core/store.js";
import { LANGUAGES, language, setLanguage, t } from "../core/text.js";
import { failed } from "../core/toast.js";
import { Button } from "../parts/button.js";
import { Chips } from "../parts/chips.js";
import { Dialog } from "../parts/dialog.js";
import { SelectField } from "../parts/field.js";
import { theme } from "./theme.js";

export default function Settings({ onClose, onShortcuts }) {
  const { me } = useStore(session);
  const themes = ["system", "light", "dark"].map((name) => [name, t(`frame.theme.${name}`)]);
  const leave = () => signOut().catch(failed);
  const actions = html`<${Button} onClick=${onShortcuts}>${t("frame.shortcuts")}<//>
    ${me?.session && html`<${Button} onClick=${leave}>${t("frame.sign_out")}<//>`}`;
  return html`<${Dialog} title=${t("frame.menu")} onClose=${onClose} actions=${actions}>
    <p class="soft">
      ${isKeyless() ? t("frame.keyless.text") : t("frame.signed_in_as", { name: me?.key?.name ?? "" })}
    </p>
    ${!isKeyless() && html`<p><${Link} href=${paths.admin()} onClick=${onClose}>${t("frame.sessions")}<//></p>`}
    <p><${Link} href=${paths.verify()} onClick=${onClose}>${t("frame.verify")}<//></p>
    <${Chips} label=${t("frame.theme")} value=${useStore(theme)} options=${themes} onChange=${theme.set} />
    <${SelectField} label=${t("frame.language")} value=${useStore(language)}
      options=${Object.entries(LANGUAGES)} onChange=${(code) => setLanguage(code).catch(failed)} />
  <//>`;
}
