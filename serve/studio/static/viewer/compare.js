/** Two pictures side by side, or one over the other with a line that moves between them. */
import { html, useEffect, useState } from "../core/html.js";
import { go, goWith, Link, paths, setTitle } from "../core/router.js";
import { useShortcuts } from "../core/shortcuts.js";
import { t } from "../core/text.js";
import { kindTitle } from "../create/offers.js";
import { Chips } from "../parts/chips.js";
import { Failure } from "../parts/empty.js";
import { IconButton } from "../parts/button.js";
import { imageUrl } from "../parts/picture.js";
import { usePictureJob } from "./picture_job.js";
import { Slider } from "./slider.js";
import { ZoomButtons } from "./stage.js";
import { useZoom, ZoomBox, ZoomedImage } from "./zoom.js";

const SIDE = "side";

export default function Compare({ params: { a, b }, query }) {
  const left = usePictureJob(a);
  const right = usePictureJob(b);
  const zoom = useZoom();
  const isSide = query.mode === SIDE;
  const setMode = (mode) => goWith({ mode: mode === SIDE ? SIDE : "" });
  const swap = () => go(`${paths.compare(b, a)}${isSide ? "?mode=side" : ""}`, { replace: true });
  const back = () => history.back();
  useShortcuts({ m: () => setMode(isSide ? "" : SIDE), w: swap, Escape: back }, "viewer");
  useEffect(() => setTitle(t("viewer.compare_title")), []);

  const error = left.error ?? right.error;
  if (error) {
    const retry = () => [left, right].forEach((one) => one.error && one.retry());
    return html`<div class="view"><h1>${t("viewer.compare_title")}</h1><${Failure} error=${error} onRetry=${retry} /></div>`;
  }
  const pictures = [sideOf(a, left.found, "A"), sideOf(b, right.found, "B")];
  const modes = [["", t("viewer.mode_slider")], [SIDE, t("viewer.mode_side")]];
  return html`<div class="compare">
    <header class="compare-bar">
      <${IconButton} icon="close" label=${t("viewer.close_compare")} onClick=${back} />
      <h1 tabindex="-1">${t("viewer.compare_title")}</h1>
      <${Chips} label=${t("viewer.mode")} isLabelHidden value=${isSide ? SIDE : ""} options=${modes} onChange=${setMode} />
      <${IconButton} icon="redo" label=${t("viewer.swap")} onClick=${swap} />
    </header>
    <div class="compare-stage">
      ${isSide
        ? html`<div class="side-by-side">${pictures.map((picture) => html`<${Side} key=${picture.id} picture=${picture} zoom=${zoom} />`)}</div>`
        : html`<${Slider} pictures=${pictures} zoom=${zoom} />`}
      <${ZoomButtons} zoom=${zoom} />
    </div>
    <div class="compare-notes">${pictures.map((picture) => html`<${Note} key=${picture.id} picture=${picture} />`)}</div>
  </div>`;
}

function sideOf(id, found, letter) {
  return { id, letter, found, alt: `${letter}: ${found?.job.request.prompt ?? ""}` };
}

function Side({ picture, zoom }) {
  return html`<${ZoomBox} zoom=${zoom}>
    <${ZoomedImage} zoom=${zoom.zoom} src=${imageUrl(picture.id)} alt=${picture.alt} />
    <span class="letter" aria-hidden="true">${picture.letter}</span>
  <//>`;
}

function Note({ picture }) {
  const { found, id, letter } = picture;
  const made = found && kindTitle(found.job.kind);
  const seeds = found && t("viewer.seeds", { seed: String(found.image.seed), decoder: String(found.image.decoder_seed) });
  return html`<p>
    <${Link} href=${paths.picture(id)}><strong>${letter}</strong> ${made ?? "…"}<//>
    <span>${seeds}</span>
  </p>`;
}
