/** The picture of the viewer, with the buttons around it. */
import { html, useState } from "../core/html.js";
import { useShortcuts } from "../core/shortcuts.js";
import { t } from "../core/text.js";
import { IconButton } from "../parts/button.js";
import { imageUrl, thumbUrl } from "../parts/picture.js";
import { useZoom, ZoomBox, ZoomedImage } from "./zoom.js";

/** Without `onPrevious` or `onNext` there is no such picture. */
export function Stage({ id, alt, onBack, onPrevious, onNext }) {
  const zoom = useZoom();
  const [isLoaded, setLoaded] = useState(false);
  return html`<div class="stage">
    <${ZoomBox} zoom=${zoom}>
      ${!isLoaded && html`<img class="zoomed is-preview" src=${thumbUrl(id, 512)} alt="" />`}
      <${ZoomedImage} zoom=${zoom.zoom} src=${imageUrl(id)} alt=${alt} onLoad=${() => setLoaded(true)} />
    <//>
    <${IconButton} icon="close" class="on-picture is-start" label=${t("viewer.back")} onClick=${onBack} />
    ${onPrevious &&
    html`<${IconButton} icon="left" class="on-picture is-previous" label=${t("viewer.previous")} onClick=${onPrevious} />`}
    ${onNext &&
    html`<${IconButton} icon="right" class="on-picture is-next" label=${t("viewer.next")} onClick=${onNext} />`}
    <${ZoomButtons} zoom=${zoom} />
  </div>`;
}

export function ZoomButtons({ zoom }) {
  const keys = { "+": zoom.larger, "-": zoom.smaller, z: () => zoom.toggle(), f: zoom.fit };
  useShortcuts(keys, "viewer");
  const isFit = zoom.zoom.scale === 1;
  return html`<div class="zoom-buttons" role="group" aria-label=${t("viewer.zoom")}>
    <${IconButton} icon="minus" label=${t("viewer.smaller")} disabled=${isFit} onClick=${zoom.smaller} />
    <${IconButton} icon="expand" label=${isFit ? t("viewer.actual") : t("viewer.fit")} onClick=${() => zoom.toggle()} />
    <${IconButton} icon="plus" label=${t("viewer.larger_zoom")} onClick=${zoom.larger} />
  </div>`;
}
