/** What is known of the model that made a picture: its licence and what that allows. */
import * as api from "../core/api.js";
import { html, useEffect, useState } from "../core/html.js";
import { t } from "../core/text.js";

/** Read when it is opened; `model` has the id, revision and fingerprint of the weights. */
export function ModelPassport({ model }) {
  const [isOpen, setOpen] = useState(false);
  const [found, setFound] = useState(null);
  useEffect(() => {
    if (!isOpen || found) return;
    const isSame = (served) => served.fingerprint === model.fingerprint;
    api.get(`/v1/models/${model.id}`).then((served) => setFound(isSame(served) ? served : {}), () => setFound({}));
  }, [isOpen]);
  const rows = !found ? [] : [
    ["licence", found.licence],
    ["hosting", found.terms && t(`asset.terms.${found.terms.hosting}`)],
    ["commercial", found.terms && t(`asset.terms.${found.terms.commercial}`)],
    ["trained_on", found.trained_on],
    ["weaknesses", found.weaknesses?.join(" ")],
  ];
  return html`<details class="asset-details" onToggle=${(event) => setOpen(event.currentTarget.open)}>
    <summary>${t("asset.model", { model: model.id })}</summary>
    <dl>
      <div><dt>${t("asset.model.revision")}</dt><dd>${model.revision}</dd></div>
      ${rows.filter(([, value]) => value).map(([name, value]) => html`<div key=${name}>
        <dt>${t(`asset.model.${name}`)}</dt><dd dir="auto">${value}</dd>
      </div>`)}
    </dl>
    ${found && !found.licence && html`<p class="soft small">${t("asset.model.unknown")}</p>`}
  </details>`;
}
