/** The form for a new key. */
import * as api from "../core/api.js";
import { html, useState } from "../core/html.js";
import { isKeyless, session, signIn } from "../core/session.js";
import { t } from "../core/text.js";
import { errorSentence } from "../core/toast.js";
import { Button } from "../parts/button.js";
import { Dialog } from "../parts/dialog.js";
import { Switch, TextField } from "../parts/field.js";
import { shownKey } from "./shown_key.js";

const SCOPES = ["read", "create", "review", "publish", "trusted", "admin"];
const LIMIT = 600;
const SIGN_IN_TRIES = 4;
const SIGN_IN_PAUSE_MS = 1000;

export function NewKey({ onClose, onMade }) {
  const isFirst = isKeyless();
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState(isFirst ? ["admin"] : ["read", "create"]);
  const [limit, setLimit] = useState(String(LIMIT));
  const [own, setOwn] = useState("");
  const { isBusy, errors, send } = useSending({ name, scopes, limit, own, isFirst, onMade });
  const needsOwn = Boolean(session.get().me?.session);
  const set = (scope, isOn) => setScopes(SCOPES.filter((one) => (one === scope ? isOn : scopes.includes(one))));
  const submit = (event) => {
    event.preventDefault();
    if (!isBusy) void send();
  };
  const actions = html`<${Button} onClick=${onClose}>${t("frame.cancel")}<//>
    <${Button} kind="primary" type="submit" form="admin-new-key" busy=${isBusy}>${t("admin.key.make")}<//>`;

  return html`<${Dialog} title=${t("admin.key.new")} onClose=${onClose} actions=${actions}>
    <form id="admin-new-key" onSubmit=${submit}>
      <${TextField} label=${t("admin.key.name")} hint=${t("admin.key.name.hint")} error=${errors.name}
        value=${name} onChange=${setName} required maxlength="128" autocomplete="off" autofocus />
      ${isFirst ? html`<p class="notice">${t("admin.key.first")}</p>` : html`<${Scopes} scopes=${scopes} onChange=${set} error=${errors.scopes} />`}
      <${TextField} label=${t("admin.key.requests")} hint=${t("admin.key.requests.hint")} error=${errors.requests_per_minute}
        type="number" min="0" max="1000000" inputmode="numeric" value=${limit} onChange=${setLimit} required />
      ${needsOwn && html`<${TextField} label=${t("admin.key.again")} hint=${t("admin.key.again.hint")} error=${errors.key}
        type="password" value=${own} onChange=${setOwn} required autocomplete="current-password" />`}
      ${errors.other && html`<p class="field-error" role="alert">${errors.other}</p>`}
    </form>
  <//>`;
}

function Scopes({ scopes, onChange, error }) {
  return html`<fieldset class="admin-scopes">
    <legend>${t("admin.key.scopes")}</legend>
    ${SCOPES.map((scope) => html`<${Switch} key=${scope} label=${t(`admin.scope.${scope}`)} hint=${t(`admin.scope.${scope}.hint`)}
      checked=${scopes.includes(scope)} onChange=${(isOn) => onChange(scope, isOn)} />`)}
    ${error && html`<p class="field-error" role="alert">${error}</p>`}
  </fieldset>`;
}

function useSending({ name, scopes, limit, own, isFirst, onMade }) {
  const [isBusy, setBusy] = useState(false);
  const [errors, setErrors] = useState({});
  const send = async () => {
    if (!scopes.length) return setErrors({ scopes: t("admin.key.scopes.none") });
    setBusy(true);
    try {
      const body = { name: name.trim(), scopes, requests_per_minute: Number(limit) };
      const made = await api.post("/v1/keys", own ? { ...body, key: own.trim() } : body);
      try {
        if (isFirst) await signInWith(made.token);
      } finally {
        // Not before: an Escape during the sign-in would take the key away, which is shown once.
        shownKey.set({ name: made.name, token: made.token });
      }
      onMade();
    } catch (error) {
      setErrors(fieldErrors(error));
    }
    setBusy(false);
  };
  return { isBusy, errors, send };
}

function fieldErrors(error) {
  const field = (error.param ?? "").split(".")[0];
  if (error.code === "forbidden" && field === "key") return { key: t("admin.key.again.wrong") };
  const known = ["name", "scopes", "requests_per_minute", "key"];
  return { [known.includes(field) ? field : "other"]: field ? error.message : errorSentence(error) };
}

/** From the first key on this browser needs a session, too. Other gateways know the key later. */
async function signInWith(token) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await signIn(token);
    } catch (error) {
      if (tries === SIGN_IN_TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, SIGN_IN_PAUSE_MS));
    }
  }
}
