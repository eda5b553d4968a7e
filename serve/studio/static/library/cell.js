/** One picture of the grid. */
import { html } from "../core/html.js";
import { Link } from "../core/router.js";
import { t } from "../core/text.js";
import { Icon } from "../parts/icon.js";
import { thumbUrl } from "../parts/picture.js";

/**
 * A picture, undefined while it is not loaded; the active one has the one tab stop of the grid.
 * While some are selected, a click selects instead of opening.
 */
export function Cell({ index, column, picture, href, isActive, isSelected, ...props }) {
  const { isSelecting, onPress, onToggle } = props;
  return html`<div
    class=${`grid-cell${isSelected ? " is-selected" : ""}`}
    role="gridcell"
    aria-colindex=${column}
    aria-selected=${isSelected}
    aria-busy=${!picture}
    aria-label=${picture ? undefined : t("library.loading_picture")}
    tabindex=${isActive ? 0 : -1}
    data-index=${index}
  >
    ${picture &&
    html`<${Link}
        class="cell-link"
        href=${href}
        tabindex="-1"
        onClick=${(event) => (isSelecting || event.shiftKey) && onPress(index, event)}
      >
        <${Thumbnail} picture=${picture} />
      <//>
      <span class="cell-check" aria-hidden="true" onClick=${() => onToggle(index)}>
        <${Icon} name="check" size=${16} />
      </span>
      <${Marks} picture=${picture} />`}
  </div>`;
}

function Thumbnail({ picture }) {
  return html`<img
    src=${thumbUrl(picture.id)}
    srcset=${`${thumbUrl(picture.id)} 1x, ${thumbUrl(picture.id, 512)} 2x`}
    alt=${picture.prompt || t("library.no_prompt")}
    decoding="async"
    draggable=${false}
  />`;
}

function Marks({ picture }) {
  const isAsset = picture.state !== "draft";
  if (!picture.star && !picture.rating && !isAsset) return null;
  return html`<span class="cell-marks">
    ${isAsset && html`<span class="cell-state">${t(`asset.state.${picture.state}`)}</span>`}
    ${picture.star && html`<span class="cell-star"><${Icon} name="star" size=${16} /></span>`}
    ${picture.rating > 0 && html`<span aria-label=${t("library.rated", { count: picture.rating })} role="img">${"★".repeat(picture.rating)}</span>`}
  </span>`;
}
