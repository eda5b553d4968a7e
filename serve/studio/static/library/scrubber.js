/** The track of dates beside the grid: it shows where one is and leads to any day. */
import { html, useMemo, useRef, useState } from "../core/html.js";
import { t } from "../core/text.js";
import { dayRange, trackLabels } from "./days.js";
import { placeOfLast } from "./sections.js";

const LABELS_APART_PX = 40;
const FAR = 10;

/** `top` is how far the grid is scrolled, `height` that of what is in sight. */
export function Scrubber({ scroller, layout, top, height }) {
  const track = useRef(null);
  const [isDragged, setDragged] = useState(false);
  const labels = useMemo(() => trackLabels(layout, height - 32, LABELS_APART_PX), [layout, height]);
  const reach = layout.heightPx - height;
  if (reach <= 0 || !layout.blocks.length) return html`<div class="scrubber"></div>`;

  const share = Math.min(1, Math.max(0, top / reach));
  // The heights that the grid tells are rounded to half a row.
  const place = placeOfLast(layout.blocks, "top", top + layout.rowPx / 2);
  const scrollTo = (px) => scroller.current && (scroller.current.scrollTop = px);
  const drag = (event) => {
    const box = track.current?.getBoundingClientRect();
    if (box) scrollTo(((event.clientY - box.top) / box.height) * reach);
  };
  const down = (event) => {
    event.currentTarget.setPointerCapture(event.pointerId);
    setDragged(true);
    drag(event);
  };
  const steps = { ArrowUp: -1, ArrowDown: 1, PageUp: -FAR, PageDown: FAR };
  const ends = { Home: 0, End: layout.heightPx };
  const pressed = (event) => {
    const step = steps[event.key];
    if (step === undefined && ends[event.key] === undefined) return;
    event.preventDefault();
    const next = Math.min(Math.max(place + (step ?? 0), 0), layout.blocks.length - 1);
    scrollTo(step === undefined ? ends[event.key] : layout.blocks[next].top);
  };
  return html`<div
    class=${`scrubber${isDragged ? " is-dragged" : ""}`}
    role="slider"
    tabindex="0"
    aria-label=${t("library.scrubber")}
    aria-orientation="vertical"
    aria-valuemin="0"
    aria-valuemax=${layout.blocks.length - 1}
    aria-valuenow=${place}
    aria-valuetext=${dayRange(layout.blocks[place].section)}
    onKeyDown=${pressed}
    onPointerDown=${down}
    onPointerMove=${(event) => isDragged && drag(event)}
    onPointerUp=${() => setDragged(false)}
    onPointerCancel=${() => setDragged(false)}
  >
    <div class="scrubber-track" ref=${track}>
      ${labels.map(
        (label) => html`<span class="scrubber-label" style=${{ top: `${label.top}px` }}>${label.text}</span>`,
      )}
      <span class="scrubber-handle" style=${{ top: `${share * 100}%` }}>
        <span class="scrubber-date">${dayRange(layout.blocks[place].section)}</span>
      </span>
    </div>
  </div>`;
}
