/** The state of a picture, with what may be done about it, comments, and what was done before. */
import * as api from "../core/api.js";
import { useBusy } from "../core/busy.js";
import { formatDateTime } from "../core/format.js";
import { html, useEffect, useState } from "../core/html.js";
import { t } from "../core/text.js";
import { Button } from "../parts/button.js";
import { useAsset } from "./asset.js";
import { Comments } from "./comments.js";
import { ModelPassport } from "./model_passport.js";
import { NoteDialog } from "./note_dialog.js";
import { loadSubmitted } from "./submitted.js";

export function AssetPanel({ id }) {
  const { asset, comments, act, ...changes } = useAsset(id);
  const [isAsking, setAsking] = useState(false);
  const [isBusy, run] = useBusy();
  if (!asset) return null;
  const change = (action, note) =>
    run(async () => {
      await act(action, note);
      setAsking(false);
      loadSubmitted();
    });
  return html`<section class="asset" aria-label=${t("asset.title")}>
    <h2>${t("asset.title")} <${StateBadge} state=${asset.state} /></h2>
    <${Decision} asset=${asset} />
    ${asset.actions.length > 0 &&
    html`<div class="asset-actions">
      ${asset.actions.map((action) => html`<${Button} key=${action} busy=${isBusy}
        onClick=${() => (action === "reject" ? setAsking(true) : change(action))}>${t(`asset.action.${action}`)}<//>`)}
    </div>`}
    <${Comments} comments=${comments} ...${changes} />
    ${asset.model && html`<${ModelPassport} key=${asset.id} model=${asset.model} />`}
    ${asset.version > 0 && html`<${History} key="${id} ${asset.version}" id=${id} />`}
    ${isAsking && html`<${NoteDialog} busy=${isBusy} onDone=${(note) => change("reject", note)} onClose=${() => setAsking(false)} />`}
  </section>`;
}

export function StateBadge({ state }) {
  return html`<span class="state-badge is-${state}">${t(`asset.state.${state}`)}</span>`;
}

/** Return the name of a key, or of the user that it acted for. */
export const nameOf = (actor) => actor.user ?? actor.key;

/** The latest submission and decision. */
export function Decision({ asset }) {
  const { submitted_by: submitter, decided_by: decider, note } = asset;
  if (!submitter) return html`<p class="soft small">${t("asset.draft_text")}</p>`;
  const lines = [["submitted_by", submitter, asset.submitted_at]];
  if (decider) lines.push(["decided_by", decider, asset.decided_at]);
  return html`<div class="soft small">
    ${lines.map(([name, actor, at]) => html`<p key=${name}>
      ${t(`asset.${name}`, { name: nameOf(actor), time: formatDateTime(at) })}
    </p>`)}
    ${note && html`<blockquote dir="auto">${note}</blockquote>`}
  </div>`;
}

/** What was done with an asset, oldest first; read when it is opened. */
function History({ id }) {
  const [isOpen, setOpen] = useState(false);
  const [events, setEvents] = useState(null);
  useEffect(() => {
    if (isOpen && !events) api.get(`/v1/assets/${id}/history`).then((found) => setEvents(found.events), () => {});
  }, [isOpen]);
  return html`<details class="asset-details asset-history" onToggle=${(event) => setOpen(event.currentTarget.open)}>
    <summary>${t("asset.history")}</summary>
    <ol>
      ${(events ?? []).map((event) => html`<li key=${event.id}>
        <strong>${t(`asset.done.${event.action}`)}</strong> ${nameOf(event.actor)} · ${formatDateTime(event.at)}
        ${event.note && html`<blockquote dir="auto">${event.note}</blockquote>`}
      </li>`)}
    </ol>
  </details>`;
}
