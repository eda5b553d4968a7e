/** The picture that is decided on, with what is known of it. */
import { formatSize } from "../core/format.js";
import { html, useState } from "../core/html.js";
import { t } from "../core/text.js";
import { useAsset } from "../asset/asset.js";
import { Decision } from "../asset/asset_panel.js";
import { Comments, numbered } from "../asset/comments.js";
import { ModelPassport } from "../asset/model_passport.js";
import { Button } from "../parts/button.js";
import { imageUrl } from "../parts/picture.js";

const CRITERIA = ["prompt", "faults", "brand"];

/** `checked` is set to the sentences of the criteria that hold; `field` to the field of comments. */
export function ReviewPanel({ asset, isBusy, checked, field, onApprove, onReject }) {
  const { comments, say, resolve, remove } = useAsset(asset.id);
  const [point, setPoint] = useState(null);
  const { width, height, seed, model } = asset;
  const facts = [formatSize(width, height), t("asset.seed", { seed: String(seed) })];
  const isOwn = !asset.actions.includes("approve");
  return html`<${Stage} asset=${asset} comments=${comments} point=${point} onPoint=${setPoint} />
    <section class="review-panel asset" aria-label=${t("asset.about")}>
      <p class="review-prompt" dir="auto">${asset.prompt || t("asset.no_prompt")}</p>
      <p class="soft small">${facts.filter(Boolean).join(" · ")}</p>
      <${Decision} asset=${asset} />
      <${Checklist} checked=${checked} />
      <div class="asset-actions">
        <${Button} kind="primary" icon="check" busy=${isBusy} disabled=${isOwn} onClick=${onApprove}>${t("asset.action.approve")}<//>
        <${Button} kind="danger" busy=${isBusy} onClick=${onReject}>${t("asset.action.reject_ask")}<//>
      </div>
      ${isOwn && html`<p class="soft small">${t("asset.own")}</p>`}
      ${model && html`<${ModelPassport} model=${model} />`}
      <${Comments} ...${{ comments, say, resolve, remove, point, field }} onPoint=${setPoint} />
    </section>`;
}

/** A press on the picture is the place of the next comment. */
function Stage({ asset, comments, point, onPoint }) {
  const numbers = numbered(comments);
  const press = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const part = (at, start, size) => Math.round(1000 * Math.min(1, Math.max(0, (at - start) / size))) / 1000;
    onPoint({ x: part(event.clientX, box.left, box.width), y: part(event.clientY, box.top, box.height) });
  };
  const placed = ({ x, y }) => ({ left: `${100 * x}%`, top: `${100 * y}%` });
  return html`<div class="review-stage">
    <div class="review-picture" style=${{ aspectRatio: `${asset.width} / ${asset.height}` }} onClick=${press}>
      <img src=${imageUrl(asset.id)} alt=${asset.prompt || t("asset.no_prompt")} draggable=${false} />
      ${comments.filter(({ x }) => x !== null).map((one) => html`<span key=${one.id} class="point-number review-point"
        style=${placed(one)} title=${one.text}>${numbers.get(one.id)}</span>`)}
      ${point && html`<span class="point-number review-point is-new" style=${placed(point)} aria-hidden="true">+</span>`}
    </div>
  </div>`;
}

/** What to look for; what is ticked is noted with an approval. */
function Checklist({ checked }) {
  const [ticked, setTicked] = useState(new Set());
  checked.current = CRITERIA.filter((one) => ticked.has(one)).map((one) => t(`asset.check.${one}`));
  const toggle = (one) => {
    const next = new Set(ticked);
    if (!next.delete(one)) next.add(one);
    setTicked(next);
  };
  return html`<fieldset class="review-checks">
    <legend>${t("asset.checks")}</legend>
    ${CRITERIA.map((one) => html`<label key=${one}>
      <input type="checkbox" checked=${ticked.has(one)} onChange=${() => toggle(one)} />
      <span>${t(`asset.check.${one}`)}</span>
    </label>`)}
  </fieldset>`;
}
