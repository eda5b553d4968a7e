/** Pictures of the service. */
import { html, useState } from "../core/html.js";
import { t } from "../core/text.js";

/** The width is 256 or 512 px. */
export const thumbUrl = (id, width = 256) => `/v1/thumbs/${id}?w=${width}`;

export const imageUrl = (id) => `/v1/images/${id}`;

/**
 * A picture in a box of its aspect, which is grey until the picture is there. An `eager` one is
 * loaded at once: it is in the first screen.
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
