/** The API keys: a list, a new one, and the end of one. */
import * as api from "../core/api.js";
import { useBusy } from "../core/busy.js";
import { formatAgo, formatDate, formatNumber } from "../core/format.js";
import { html, useState } from "../core/html.js";
import { isKeyless, session } from "../core/session.js";
import { useStore } from "../core/store.js";
import { t } from "../core/text.js";
import { toast } from "../core/toast.js";
import { Button } from "../parts/button.js";
import { Confirm } from "../parts/dialog.js";
import { Failure } from "../parts/empty.js";
import { Skeleton } from "../parts/skeleton.js";
import { NewKey } from "./new_key.js";
import { shownKey, ShownKey } from "./shown_key.js";
import { usePolled } from "./polled.js";

export function Keys() {
  const { data, error, load } = usePolled("/v1/keys");
  const [isNew, setNew] = useState(false);
  const shown = useStore(shownKey);
  const keys = data?.keys ?? [];
  const valid = keys.filter((key) => !key.revoked_at);
  const revoked = keys.filter((key) => key.revoked_at);
  const revoking = useRevoking(valid, load);
  const made = () => {
    setNew(false);
    void load();
  };
  return html`<section class="admin-section">
    <header class="admin-head">
      <h2 id="admin-keys" tabindex="-1">${t("admin.keys")}</h2>
      <${Button} icon="plus" onClick=${() => setNew(true)}>${t("admin.key.new")}<//>
    </header>
    ${isKeyless() && html`<p class="notice">${t("admin.keyless")}</p>`}
    ${!data && !error && html`<${Skeleton} height="72px" />`}
    ${!data && error && html`<${Failure} error=${error} onRetry=${load} />`}
    <ul class="admin-list">
      ${valid.map((key) => html`<${KeyRow} key=${key.id} of=${key} onRevoke=${() => revoking.ask(key)} />`)}
    </ul>
    ${revoked.length > 0 && html`<details class="admin-revoked">
      <summary>${t("admin.keys.revoked", { count: revoked.length })}</summary>
      <ul class="admin-list">${revoked.map((key) => html`<${KeyRow} key=${key.id} of=${key} />`)}</ul>
    </details>`}
    ${isNew && html`<${NewKey} onClose=${() => setNew(false)} onMade=${made} />`}
    ${shown && html`<${ShownKey} made=${shown} />`}
    ${revoking.asked && html`<${Confirm} title=${t("admin.key.revoke_one", { name: revoking.asked.name })}
      text=${revoking.text} label=${t("admin.key.revoke")} busy=${revoking.isBusy}
      onConfirm=${revoking.confirm} onClose=${revoking.giveUp} />`}
  </section>`;
}

function KeyRow({ of: key, onRevoke }) {
  const isOwn = key.id === session.get().me?.key?.id;
  const limit = key.requests_per_minute;
  const facts = [
    t("admin.key.created", { date: formatDate(key.created_at) }),
    key.revoked_at ? t("admin.key.ended", { date: formatDate(key.revoked_at) }) : usedText(key),
    limit ? t("admin.key.limit", { limit: formatNumber(limit) }) : t("admin.key.unlimited"),
  ];
  return html`<li class="admin-item" data-key=${key.id}>
    <div class="admin-item-words">
      <p class="admin-strong">
        <bdi>${key.name}</bdi>
        ${isOwn && html`<span class="admin-chip good">${t("admin.key.own")}</span>`}
        ${key.scopes.map((scope) => html`<span class="admin-chip" key=${scope}>${t(`admin.scope.${scope}`)}</span>`)}
      </p>
      <p class="soft small"><code>csk_${key.id}_…</code> · ${facts.join(" · ")}</p>
    </div>
    ${onRevoke && html`<${Button} class="small" aria-label=${t("admin.key.revoke_label", { name: key.name })} onClick=${onRevoke}>${t("admin.key.revoke")}<//>`}
  </li>`;
}

const usedText = ({ last_used_at: at }) => (at ? t("admin.key.used", { ago: formatAgo(at) }) : t("admin.key.unused"));

/** The question before a key is revoked, and the revocation. */
function useRevoking(valid, load) {
  const [asked, setAsked] = useState(null);
  const [isBusy, run] = useBusy();
  const admins = valid.filter((key) => key.scopes.includes("admin"));
  const isLast = admins.length === 1 && admins[0].id === asked?.id;
  const isOwn = asked?.id === session.get().me?.key?.id;
  const confirm = async () => {
    await api.del(`/v1/keys/${asked.id}`);
    toast(t("admin.key.was_revoked", { name: asked.name }));
    await load();
    setAsked(null);
    document.getElementById("admin-keys")?.focus();
  };
  const text = [t("admin.key.revoke.text"), isOwn && t("admin.key.revoke.own"), isLast && t("admin.key.revoke.last")];
  return { asked, isBusy, confirm: () => run(confirm), ask: setAsked, giveUp: () => setAsked(null), text: text.filter(Boolean).join(" ") };
}
