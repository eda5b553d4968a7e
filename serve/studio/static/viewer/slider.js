/** Two pictures over each other: left of a line the first one is seen, right of it the second. */
import { html, useRef, useState } from "../core/html.js";
import { useShortcuts } from "../core/shortcuts.js";
import { t } from "../core/text.js";
import { imageUrl } from "../parts/picture.js";
import { ZoomBox, ZoomedImage } from "./zoom.js";

const STEP = 2;
const FAR = 10;

export function Slider({ pictures: [first, second], zoom }) {
  const [percent, setPercent] = useState(50);
  const frame = useRef(null);
  const set = (value) => setPercent(Math.min(100, Math.max(0, value)));
  useShortcuts({ " ": () => set(percent > 50 ? 0 : 100) }, "viewer");

  const steps = { ArrowLeft: -STEP, ArrowDown: -STEP, ArrowRight: STEP, ArrowUp: STEP, PageDown: -FAR, PageUp: FAR, Home: -100, End: 100 };
  const pressed = (event) => {
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    set(percent + step * (event.shiftKey ? 5 : 1));
  };
  const drag = (event) => {
    if (!event.currentTarget.hasPointerCapture(event.pointerId)) return;
    const box = frame.current?.getBoundingClientRect();
    if (box) set((100 * (event.clientX - box.left)) / box.width);
  };
  const image = (picture) =>
    html`<${ZoomedImage} zoom=${zoom.zoom} src=${imageUrl(picture.id)} alt=${picture.alt} />`;
  return html`<div class="slider-frame" ref=${frame}>
    <${ZoomBox} zoom=${zoom}>
      <div class="layer">${image(second)}</div>
      <div class="layer" style=${{ clipPath: `inset(0 ${100 - percent}% 0 0)` }}>${image(first)}</div>
      <span class="letter" aria-hidden="true">${first.letter}</span>
      <span class="letter is-end" aria-hidden="true">${second.letter}</span>
    <//>
    <div
      class="slider-handle"
      role="slider"
      tabindex="0"
      aria-label=${t("viewer.slider")}
      aria-valuemin="0"
      aria-valuemax="100"
      aria-valuenow=${Math.round(percent)}
      aria-valuetext=${t("viewer.slider_value", { percent: Math.round(percent) })}
      style=${{ left: `${percent}%` }}
      onKeyDown=${pressed}
      onPointerDown=${(event) => event.currentTarget.setPointerCapture(event.pointerId)}
      onPointerMove=${drag}
    ></div>
  </div>`;
}
