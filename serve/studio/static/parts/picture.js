// @ts-check
/** Pictures of the service. */
import { html, useState } from "../core/html.js";
import { t } from "../core/text.js";

/** @param {string} id @param {256 | 512} [width] in px @returns {string} */
export const thumbUrl = (id, width = 256) => `/v1/thumbs/${id}?w=${width}`;

/** @param {string} id @returns {string} */
export const imageUrl = (id) => `/v1/images/${id}`;

/**
 * A picture in a box of its aspect, which is grey until the picture is there.
 * @param {object} props
 * @param {string} props.src
 * @param {string} props.alt the prompt
 * @param {number} props.width of the picture in px: with `height` its aspect
 * @param {number} props.height
 * @param {boolean} [props.eager] loaded at once: it is in the first screen
 * @param {string} [props.class]
 */
export function Picture({ src, alt, width, height, eager = false, class: extra = "" }) {
  const [failed, setFailed] = useState("");
  if (failed === src) {
    return html`<span class="picture missing ${extra}" style=${{ aspectRatio: `${width} / ${height}` }}>
      ${t("frame.picture_missing")}
    </span>`;
  }
  return html`<img class="picture ${extra}" src=${src} alt=${alt} width=${width} height=${height}
    loading=${eager ? "eager" : "lazy"} decoding="async" draggable=${false}
    style=${{ aspectRatio: `${width} / ${height}` }} onError=${() => setFailed(src)} />`;
}
