/** Pictures of the service. */
import { html, useState } from "../core/html.js";
import { t } from "../core/text.js";

/** The width is 256 or 512 px. */
export const thumbUrl = (id, width = 256) => `/v1/thumbs/${id}?w=${width}`;

export const imageUrl = (id) => `/v1/images/${id}`;

/** A picture in a box of its aspect, which is grey until the picture is there. */
export function Picture({ src, alt, width, height }) {
  const [failed, setFailed] = useState("");
  if (failed === src) {
    return html`<span class="picture missing" style=${{ aspectRatio: `${width} / ${height}` }}>
      ${t("frame.picture_missing")}
    </span>`;
  }
  return html`<img class="picture" src=${src} alt=${alt} width=${width} height=${height}
    loading="lazy" decoding="async" draggable=${false}
    style=${{ aspectRatio: `${width} / ${height}` }} onError=${() => setFailed(src)} />`;
}
