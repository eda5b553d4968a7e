/** The grid of a library: it holds only the rows that are in sight. */
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../core/html.js";
import { failed } from "../core/toast.js";
import { Cell } from "./cell.js";
import { dayRange } from "./days.js";
import { layoutOf, rowsBetween, rowWith } from "./layout.js";
import { Scrubber } from "./scrubber.js";
import { isSelected } from "./selection/selection.js";

const OVERSCAN_PX = 400;
const SETTLED_MS = 80;

/**
 * The `active` picture has the tab stop; `reveals` counts the wishes to bring it into sight and
 * focus it; `kept` says where the grid was when it was last shown; `onLayout` gets the layout and
 * the rows that fit on the screen.
 */
export function Grid(props) {
  const { pictures, active, reveals, kept, label } = props;
  const scroller = useRef(null);
  const size = useSize(scroller);
  const version = pictures.version.get();
  const layout = useMemo(() => layoutOf(pictures.sections, size.width), [pictures, version, size.width]);
  const [top, setTop] = useScroll(scroller, kept, layout);
  const [from, to] = [top - OVERSCAN_PX, top + size.height + OVERSCAN_PX];
  const rows = size.width ? withActive(rowsBetween(layout, from, to), layout, active) : [];

  props.onLayout(layout, Math.max(1, Math.floor(size.height / layout.rowPx)));
  useAnchor(scroller, pictures, layout, active, setTop);
  useLoading(pictures, rowsBetween(layout, from, to));
  useReveal(scroller, layout, active, reveals);
  useKeptFocus(scroller, active);

  const focused = (event) => {
    const cell = event.target.closest("[data-index]");
    if (cell) props.onFocus(Number(cell.dataset.index));
  };
  return html`<div class="grid-frame">
    <div class="grid-scroller" ref=${scroller}>
      <div
        class="grid"
        role="grid"
        aria-label=${label}
        aria-multiselectable="true"
        aria-rowcount=${layout.rowCount + layout.blocks.length}
        aria-colcount=${layout.columns}
        style=${{ height: `${layout.heightPx}px`, "--columns": layout.columns }}
        onfocusin=${focused}
      >
        ${rows.map((row) => html`<${Row} key=${row.ariaRow} row=${row} layout=${layout} ...${props} />`)}
      </div>
    </div>
    <${Scrubber} scroller=${scroller} layout=${layout} top=${top} height=${size.height} />
  </div>`;
}

function Row({ row, layout, pictures, active, selection, isSelecting, hrefOf, onPress, onToggle }) {
  const style = { transform: `translateY(${row.top}px)` };
  if (row.isHeading) {
    return html`<div class="grid-heading" role="row" aria-rowindex=${row.ariaRow} style=${style}>
      <span role="rowheader" aria-colspan=${layout.columns}>${dayRange(row.block.section)}</span>
    </div>`;
  }
  const indices = Array.from({ length: row.to - row.from }, (_, column) => row.from + column);
  return html`<div class="grid-row" role="row" aria-rowindex=${row.ariaRow} style=${style}>
    ${indices.map((index) => {
      const picture = pictures.at(index);
      return html`<${Cell}
        key=${picture?.id ?? index}
        index=${index}
        column=${index - row.from + 1}
        picture=${picture}
        href=${picture && hrefOf(picture)}
        isActive=${index === active}
        isSelected=${Boolean(picture && isSelected(selection, picture.id))}
        isSelecting=${isSelecting}
        onPress=${onPress}
        onToggle=${onToggle}
      />`;
    })}
  </div>`;
}

/** Keep the row of the active picture in the page, so that focus is never lost. */
function withActive(rows, layout, active) {
  const own = rowWith(layout, active);
  if (!own || rows.some((row) => row.ariaRow === own.ariaRow)) return rows;
  return own.ariaRow < (rows[0]?.ariaRow ?? 0) ? [own, ...rows] : [...rows, own];
}

function useSize(element) {
  const [size, setSize] = useState({ width: 0, height: 0 });
  useLayoutEffect(() => {
    const grid = element.current;
    const observer = new ResizeObserver(([{ contentRect }]) =>
      setSize({ width: contentRect.width, height: grid.clientHeight }),
    );
    observer.observe(grid);
    return () => observer.disconnect();
  }, []);
  return size;
}

/** Follow the scroll position in steps of half a row. */
function useScroll(scroller, kept, layout) {
  const [top, setTop] = useState(kept.scrollTop);
  const step = useRef(1);
  step.current = Math.max(1, layout.rowPx / 2);
  useLayoutEffect(() => {
    const element = scroller.current;
    const scrolled = () => {
      kept.scrollTop = element.scrollTop;
      setTop(Math.round(element.scrollTop / step.current) * step.current);
    };
    element.addEventListener("scroll", scrolled, { passive: true });
    return () => element.removeEventListener("scroll", scrolled);
  }, [kept]);
  const isLaidOut = layout.cellPx > 1;
  useLayoutEffect(() => {
    if (isLaidOut && kept.scrollTop) scroller.current.scrollTop = kept.scrollTop;
  }, [kept, isLaidOut]);
  return [top, setTop];
}

/**
 * Keep the active picture, or the first in sight, where it is when pictures come or go above it.
 */
function useAnchor(scroller, pictures, layout, active, setTop) {
  const anchor = useRef(null);
  const version = pictures.version.get();
  useLayoutEffect(() => {
    const place = anchor.current ? pictures.indexOf(anchor.current.id) : -1;
    const row = place < 0 ? undefined : rowWith(layout, place);
    if (!row || !anchor.current || row.top === anchor.current.top) return;
    const element = scroller.current;
    element.scrollTop += row.top - anchor.current.top;
    setTop(element.scrollTop);
  }, [version, layout.columns, layout.cellPx]);
  useEffect(() => {
    const { scrollTop, clientHeight } = scroller.current;
    const rows = scrollTop < 1 || layout.cellPx === 1 ? [] : rowsBetween(layout, scrollTop, scrollTop + clientHeight);
    const shown = rows.filter((row) => !row.isHeading && pictures.at(row.from));
    const own = shown.find((row) => row.from <= active && active < row.to);
    const picture = own ? pictures.at(active) : pictures.at(shown[0]?.from ?? -1);
    anchor.current = picture ? { id: picture.id, top: (own ?? shown[0]).top } : null;
  });
}

/** Load what is in sight, once scrolling pauses. */
function useLoading(pictures, rows) {
  const shown = rows.filter((row) => !row.isHeading);
  const from = shown[0]?.from ?? 0;
  const to = shown.at(-1)?.to ?? 0;
  const isMissing = shown.some((row) => !pictures.at(row.from) || !pictures.at(row.to - 1));
  const isFirst = useRef(true);
  useEffect(() => {
    if (!isMissing) return undefined;
    const load = () => pictures.load(from, to).catch(failed);
    const timer = setTimeout(load, isFirst.current ? 0 : SETTLED_MS);
    isFirst.current = false;
    return () => clearTimeout(timer);
  }, [pictures, from, to, isMissing, pictures.version.get()]);
}

/** Bring the active picture into sight and focus it, when that is wished. */
function useReveal(scroller, layout, active, reveals) {
  const isLaidOut = layout.cellPx > 1;
  useLayoutEffect(() => {
    const row = reveals && isLaidOut ? rowWith(layout, active) : undefined;
    if (!row) return;
    const element = scroller.current;
    const end = row.top + layout.rowPx - element.clientHeight;
    if (row.top < element.scrollTop + 8) element.scrollTop = active ? row.top - 56 : 0;
    else if (end > element.scrollTop) element.scrollTop = end + 8;
    element.querySelector(`[data-index="${active}"]`)?.focus({ preventScroll: true });
  }, [reveals, isLaidOut]);
}

/** Give the focus to the active picture when the element that had it is gone. */
function useKeptFocus(scroller, active) {
  const wasInside = useRef(false);
  useLayoutEffect(() => {
    const element = scroller.current;
    if (wasInside.current && document.activeElement === document.body) {
      element.querySelector(`[data-index="${active}"]`)?.focus({ preventScroll: true });
    }
    wasInside.current = element.contains(document.activeElement);
  });
}
