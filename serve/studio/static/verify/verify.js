/** What a picture file says of itself, and which pictures of the service it is or resembles. */
import * as api from "../core/api.js";
import { useBusy } from "../core/busy.js";
import { formatDateTime } from "../core/format.js";
import { html, useEffect, useState } from "../core/html.js";
import { Link, paths } from "../core/router.js";
import { t, textOr } from "../core/text.js";
import { Skeleton } from "../parts/skeleton.js";
import { thumbUrl } from "../parts/picture.js";

const TYPES = "image/png,image/jpeg,image/webp";

export default function Verify() {
  const [found, setFound] = useState(null);
  const [isBusy, run] = useBusy();
  const take = (file) => {
    if (!file || isBusy) return;
    const form = new FormData();
    form.append("file", file);
    setFound(null);
    run(async () => setFound({ name: file.name, answer: await api.post("/v1/verify", form) }));
  };
  useEffect(() => {
    const hold = (event) => event.preventDefault();
    const drop = (event) => {
      event.preventDefault();
      take(event.dataTransfer?.files[0]);
    };
    addEventListener("dragover", hold);
    addEventListener("drop", drop);
    return () => {
      removeEventListener("dragover", hold);
      removeEventListener("drop", drop);
    };
  });
  return html`<div class="view verify">
    <h1>${t("frame.verify")}</h1>
    <p class="soft">${t("verify.text")}</p>
    <label class="verify-drop">
      <input type="file" accept=${TYPES} onChange=${(event) => take(event.currentTarget.files[0])} />
      <span>${t("verify.choose")}</span>
    </label>
    <div role="status" aria-busy=${isBusy}>
      ${isBusy && html`<${Skeleton} width="60%" height="2em" />`}
      ${found && html`<${Found} name=${found.name} answer=${found.answer} />`}
    </div>
  </div>`;
}

function Found({ name, answer }) {
  const { credentials, xmp, ours, watermark, nearest, is_damaged: isDamaged } = answer;
  const near = nearest.filter(({ image_id: id }) => id !== ours?.image_id);
  return html`<section class="verify-found" aria-label=${name}>
    <h2 class="verify-state is-${credentials.state}">${t(`verify.state.${credentials.state}`)}</h2>
    <p class="soft small">${name}</p>
    ${isDamaged && html`<p>${t("verify.damaged")}</p>`}
    <dl class="verify-facts">
      <${Fact} name="signer" value=${credentials.signer} />
      <${Fact} name="created_at" value=${credentials.created_at && formatDateTime(credentials.created_at)} />
      <${Fact} name="actions" value=${credentials.actions.map(actionText).join(", ")} />
      <${Fact} name="codes" value=${credentials.state === "invalid" ? credentials.codes.join(", ") : ""} />
      <${Fact} name="mark" value=${xmp ? t("verify.marked", { system: [xmp.system, xmp.version].filter(Boolean).join(" ") || "?" }) : t("verify.unmarked")} />
      <${Fact} name="watermark" value=${watermark?.payload} />
    </dl>
    ${ours && html`<${Pictures} title=${t("verify.ours")} pictures=${[ours]} />`}
    ${near.length > 0 && html`<${Pictures} title=${t("verify.nearest")} pictures=${near} />`}
    ${!ours && !near.length && !isDamaged && html`<p class="soft">${t("verify.none")}</p>`}
  </section>`;
}

const actionText = ({ action, model }) =>
  [textOr(`verify.action.${action.replace("c2pa.", "")}`, action), model && `(${model})`].filter(Boolean).join(" ");

function Fact({ name, value }) {
  return value && html`<div><dt>${t(`verify.field.${name}`)}</dt><dd>${value}</dd></div>`;
}

function Pictures({ title, pictures }) {
  return html`<h3>${title}</h3>
    <ul class="verify-pictures">
      ${pictures.map(({ image_id: id, distance }) => html`<li key=${id}>
        <${Link} href=${paths.picture(id)}>
          <img src=${thumbUrl(id)} alt=${id} />
          ${distance !== undefined && html`<span class="small">${t("verify.distance", { count: distance })}</span>`}
        <//>
      </li>`)}
    </ul>`;
}
