/**
 * The place of one picture: empty, with its newest preview, or finished with what to make of it.
 */
import { html, useState } from "../../core/html.js";
import { isMoving } from "../../core/job_events.js";
import { stageTitle } from "../../core/models.js";
import { Link, paths } from "../../core/router.js";
import { may } from "../../core/session.js";
import { save } from "../../core/save.js";
import { submit } from "../../core/submissions.js";
import { t } from "../../core/text.js";
import { Button } from "../../parts/button.js";
import { Menu } from "../../parts/menu.js";
import { Picture, imageUrl, thumbUrl } from "../../parts/picture.js";
import { actionsOf, pictureSource } from "../actions.js";
import { change, draft } from "../draft.js";
import { pictureOperation } from "../offers.js";

export function Cell({ job, index, width, height, onUse }) {
  const image = job.images?.find((one) => one.index === index);
  const prompt = promptOf(job, index);
  if (image) return html`<${Finished} image=${image} prompt=${prompt} onUse=${onUse} />`;
  const composition = job.compositions?.find((one) => one.index === index);
  const preview = job.previews?.[index] ?? composition?.preview_url;
  const stage = isMoving(job) ? stageTitle(job.steps?.[index]?.stage ?? null) : "";
  return html`<figure class="cell unfinished" style=${{ aspectRatio: `${width} / ${height}` }}>
    ${preview && html`<${Preview} src=${preview} alt=${t("create.preview", { prompt })} width=${width} height=${height} />`}
    ${stage && html`<figcaption>${stage}</figcaption>`}
  </figure>`;
}

/** A preview; nothing while the service that has it is away. */
function Preview({ src, ...rest }) {
  const [broken, setBroken] = useState("");
  return src !== broken && html`<img src=${src} onError=${() => setBroken(src)} ...${rest} />`;
}

/** Return the prompt of an image: that of a series is its template with the variant's values. */
export function promptOf({ request }, index) {
  const values = request.variants?.[index];
  if (!values) return request.prompt;
  return request.prompt.replace(/\{\{|\}\}|\{(\w+)\}/g, (found, name) => (name ? (values[name] ?? found) : found[0]));
}

function Finished({ image, prompt, onUse }) {
  const actions = may("create") ? actionsOf(image) : [];
  const act = ({ kind, body }) => {
    if (body) return void submit(body);
    const values = { ...draft.get().values, prompt, width: undefined, height: undefined };
    change({ kind, values, source: pictureSource(image.id, image.latent_id) });
    onUse();
  };
  const [first, ...rest] = actions;
  return html`<figure class="cell">
    <${Link} href=${paths.picture(image.id)}>
      <${Picture} src=${thumbUrl(image.id, 512)} alt=${prompt} width=${image.width} height=${image.height} />
    <//>
    <div class="cell-bar">
      ${first && html`<${Button} kind="quiet" class="small" onClick=${() => act(first)}>${first.label}<//>`}
      <${Menu} label=${t("create.more")} class="icon-button quiet small" opens="up" items=${[
        ...rest.map((one) => ({ text: one.label, onSelect: () => act(one) })),
        may("create") && pictureOperation() && { text: t("create.action.start"), onSelect: () => act({ kind: pictureOperation().name, body: null }) },
        { text: t("create.download"), onSelect: () => save(imageUrl(image.id)) },
      ]} />
    </div>
  </figure>`;
}
