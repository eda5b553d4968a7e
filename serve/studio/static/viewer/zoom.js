/**
 * A picture that can be made larger and moved; several of one zoom move together. A zoom is a
 * `scale`, 1 if the whole picture fits, and how far it is moved, in widths and heights of its box.
 */
import { html, useRef, useState } from "../core/html.js";

const LARGEST = 16;
const STEP = 1.25;
const FIT = { scale: 1, x: 0, y: 0 };

/** Return a zoom and what changes it. */
export function useZoom() {
  const [zoom, set] = useState(FIT);
  const element = useRef(null);
  const by = (factor, at = { x: 0, y: 0 }) => set((now) => scaled(now, now.scale * factor, at));
  const toActual = (at) => set((now) => scaled(now, actualScale(element.current), at));
  return {
    zoom,
    element,
    set,
    by,
    larger: () => by(STEP),
    smaller: () => by(1 / STEP),
    fit: () => set(FIT),
    toggle: (at = { x: 0, y: 0 }) => (zoom.scale > 1 ? set(FIT) : toActual(at)),
    move: (x, y) => set((now) => clamped({ ...now, x: now.x + x, y: now.y + y })),
  };
}

/** The children are pictures, which fill the box. */
export function ZoomBox({ zoom, children }) {
  const pointers = useRef(new Map());
  const down = (event) => {
    if (event.target.closest("button, a")) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    pointers.current.set(event.pointerId, { x: event.clientX, y: event.clientY });
  };
  const move = (event) => {
    const before = pointers.current.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    const { width, height } = event.currentTarget.getBoundingClientRect();
    const other = [...pointers.current].find(([id]) => id !== event.pointerId)?.[1];
    if (other) zoom.by(distance(now, other) / distance(before, other), at(event, other));
    else zoom.move((now.x - before.x) / width, (now.y - before.y) / height);
    pointers.current.set(event.pointerId, now);
  };
  const up = (event) => pointers.current.delete(event.pointerId);
  const wheel = (event) => {
    event.preventDefault();
    zoom.by(Math.exp(-event.deltaY / 400), at(event));
  };
  return html`<div
    class=${`zoom-box${zoom.zoom.scale > 1 ? " is-zoomed" : ""}`}
    ref=${zoom.element}
    onPointerDown=${down}
    onPointerMove=${move}
    onPointerUp=${up}
    onPointerCancel=${up}
    onDblClick=${(event) => zoom.toggle(at(event))}
    onWheel=${wheel}
  >
    ${children}
  </div>`;
}

/** A picture in a zoom box. */
export function ZoomedImage({ zoom, src, alt, onLoad }) {
  const { scale, x, y } = zoom;
  const transform = `translate(${x * 100}%, ${y * 100}%) scale(${scale})`;
  return html`<img class="zoomed" src=${src} alt=${alt} style=${{ transform }} draggable=${false} onLoad=${onLoad} />`;
}

/**
 * Return where a pointer, or the middle between it and another one, is from the middle of the box.
 */
function at(event, other = { x: event.clientX, y: event.clientY }) {
  const box = event.currentTarget.getBoundingClientRect();
  return {
    x: ((event.clientX + other.x) / 2 - box.left) / box.width - 0.5,
    y: ((event.clientY + other.y) / 2 - box.top) / box.height - 0.5,
  };
}

/** Scale so that the point stays where it is. */
function scaled(zoom, wanted, point) {
  const scale = Math.min(Math.max(wanted, 1), LARGEST);
  const factor = scale / zoom.scale;
  const moved = (name) => point[name] - (point[name] - zoom[name]) * factor;
  return clamped({ scale, x: moved("x"), y: moved("y") });
}

/** The box stays within the picture. */
function clamped({ scale, x, y }) {
  const most = (scale - 1) / 2;
  const within = (value) => Math.min(Math.max(value, -most), most);
  return { scale, x: within(x), y: within(y) };
}

/** Return the scale at which a pixel of the picture is one of the page; at least twice the fit. */
function actualScale(box) {
  const image = box?.querySelector("img");
  if (!image?.naturalWidth) return 2;
  const { clientWidth, clientHeight } = box;
  const fitted = Math.min(clientWidth / image.naturalWidth, clientHeight / image.naturalHeight);
  return fitted < 1 ? 1 / fitted : 2;
}

const distance = (a, b) => Math.max(1, Math.hypot(a.x - b.x, a.y - b.y));
