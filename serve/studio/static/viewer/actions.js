/** What a person does with a picture: make others from it, keep, show and delete it. */
import { actionsOf, pictureSource } from "../create/actions.js";
import { change } from "../create/draft.js";
import { reuse } from "../create/refill.js";
import { useBusy } from "../core/busy.js";
import { html } from "../core/html.js";
import { go, paths } from "../core/router.js";
import { may } from "../core/session.js";
import { save } from "../core/save.js";
import { submit } from "../core/submissions.js";
import { toast } from "../core/toast.js";
import { t } from "../core/text.js";
import { Button, ButtonLink } from "../parts/button.js";
import { Icon } from "../parts/icon.js";
import { Menu } from "../parts/menu.js";
import { imageUrl } from "../parts/picture.js";

/** `comparable` is the id of a relative. */
export function Actions({ job, image, prompt, comparable, onShare, onExport, onDelete }) {
  const useAgain = () => {
    reuse(job);
    go(paths.create());
  };
  return html`<section class="viewer-actions" aria-label=${t("viewer.actions")}>
    ${may("create") && html`<${Remakes} image=${image} prompt=${prompt} />`}
    <div class="action-row">
      ${comparable &&
      html`<${ButtonLink} icon="compare" href=${paths.compare(comparable, image.id)}>${t("viewer.compare")}<//>`}
      ${may("create") && html`<${Button} icon="redo" onClick=${useAgain}>${t("viewer.reuse")}<//>`}
      <${Menu} label=${t("viewer.download")} items=${downloads(image, onExport)} class="button plain">
        <${Icon} name="download" size=${18} />${t("viewer.download")}
      <//>
      <${Button} icon="share" onClick=${onShare}>${t("viewer.share")}<//>
      ${may("create") && html`<${Button} icon="trash" kind="danger" onClick=${onDelete}>${t("viewer.delete")}<//>`}
    </div>
  </section>`;
}

/** Buttons that make pictures from this one, as Create names them. */
function Remakes({ image, prompt }) {
  const [isBusy, run] = useBusy();
  const toCreate = () => go(paths.create());
  const make = async ({ kind, body }) => {
    if (!body) {
      change({ kind, values: { prompt }, source: pictureSource(image.id, image.latent_id) });
      return toCreate();
    }
    const job = await submit(body);
    toast(t(job ? "viewer.started" : "viewer.not_started"), { label: t("viewer.watch"), action: toCreate });
  };
  return html`<div class="action-row">
    ${actionsOf(image).map(
      (action, place) =>
        html`<${Button} key=${action.id} kind=${place ? "plain" : "primary"} busy=${isBusy} onClick=${() => run(() => make(action))}>
          ${action.label}
        <//>`,
    )}
  </div>`;
}

function downloads(image, onExport) {
  const file = (format, more = "") => () => save(`${imageUrl(image.id)}?format=${format}${more}`);
  const formats = ["png", "webp", "jpeg"].map((format) => ({ text: format.toUpperCase(), onSelect: file(format) }));
  return [...formats, { text: t("viewer.download_bare"), onSelect: file("png", "&metadata=none") }, { text: t("asset.export"), onSelect: onExport }];
}
