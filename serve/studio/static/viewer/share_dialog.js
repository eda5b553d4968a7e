/** Makes a link to a picture that works without an API key. */
import * as api from "../core/api.js";
import { useBusy } from "../core/busy.js";
import { formatDateTime } from "../core/format.js";
import { html, useState } from "../core/html.js";
import { toast } from "../core/toast.js";
import { t } from "../core/text.js";
import { Button } from "../parts/button.js";
import { Dialog } from "../parts/dialog.js";
import { SelectField, Switch } from "../parts/field.js";
import { copy } from "./copy.js";

const HOUR_S = 3600;
const SPANS = [
  ["hour", HOUR_S],
  ["day", 24 * HOUR_S],
  ["week", 7 * 24 * HOUR_S],
  ["month", 30 * 24 * HOUR_S],
];

export function ShareDialog({ id, onClose }) {
  const [seconds, setSeconds] = useState(24 * HOUR_S);
  const [hasMetadata, setMetadata] = useState(true);
  const [link, setLink] = useState(null);
  const [isBusy, run] = useBusy();
  const make = async () => {
    const body = { expires_in_s: seconds, metadata: hasMetadata ? "all" : "none" };
    const { url, expires_at: until } = await api.post(`/v1/images/${id}/share`, body);
    // The service leaves its address out where it does not know it.
    const full = new URL(url, location.origin).href;
    setLink({ url: full, until });
    await copy(full, t("viewer.share_copied"));
  };
  const end = async () => {
    await api.del(`/v1/images/${id}/share`);
    setLink(null);
    toast(t("viewer.share_ended"));
  };
  const actions = html`<${Button} onClick=${() => run(end)}>${t("viewer.share_end")}<//>
    ${link
      ? html`<${Button} kind="primary" icon="copy" onClick=${() => copy(link.url, t("viewer.share_copied"))}>${t("viewer.share_copy")}<//>`
      : html`<${Button} kind="primary" icon="link" busy=${isBusy} onClick=${() => run(make)}>${t("viewer.share_make")}<//>`}`;
  return html`<${Dialog} title=${t("viewer.share_title")} onClose=${onClose} actions=${actions}>
    ${link
      ? html`<${Made} link=${link} />`
      : html`<${SelectField} label=${t("viewer.share_for")} value=${seconds} onChange=${(value) => setSeconds(Number(value))}
            options=${SPANS.map(([name, value]) => [value, t(`viewer.share_span.${name}`)])} />
          <${Switch} label=${t("viewer.share_metadata")} hint=${t("viewer.share_metadata_hint")}
            checked=${hasMetadata} onChange=${setMetadata} />`}
  <//>`;
}

function Made({ link }) {
  return html`<input class="input" type="text" readonly aria-label=${t("viewer.share_link")} value=${link.url}
      onFocus=${(event) => event.currentTarget.select()} />
    <p>${t("viewer.share_until", { time: formatDateTime(link.until) })}</p>`;
}
