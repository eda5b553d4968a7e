/** Where pictures stand in the grid: rows of equal squares under the headings of their sections. */

/**
 * A layout has `blocks`: sections with their `top` in pixels, their number of `rows`, and
 * `firstRow`, the rows of pictures before them in all sections. A row goes from the index of its
 * first picture to that after its last; its `ariaRow` counts from 1, headings included.
 */
import { placeOfLast } from "./sections.js";

const HEADING_PX = 52;
const LEAST_COLUMNS = 3;
const CELL_PX = 208;

export function layoutOf(sections, widthPx) {
  const gapPx = widthPx < 600 ? 4 : 8;
  const columns = Math.max(LEAST_COLUMNS, Math.round((widthPx + gapPx) / (CELL_PX + gapPx)));
  const cellPx = Math.max(1, Math.floor((widthPx + gapPx) / columns - gapPx));
  const rowPx = cellPx + gapPx;
  const blocks = [];
  let top = 0;
  let firstRow = 0;
  for (const section of sections) {
    const rows = Math.ceil(section.count / columns);
    blocks.push({ section, top, firstRow, rows });
    top += HEADING_PX + rows * rowPx;
    firstRow += rows;
  }
  return { blocks, columns, cellPx, rowPx, heightPx: top, rowCount: firstRow };
}

/** Return the rows between two heights, headings included. */
export function rowsBetween(layout, fromPx, toPx) {
  const rows = [];
  for (let place = placeOfLast(layout.blocks, "top", fromPx); place < layout.blocks.length; place++) {
    const block = layout.blocks[place];
    if (block.top >= toPx) break;
    if (block.top + HEADING_PX > fromPx) rows.push(headingOf(block, place));
    const begin = block.top + HEADING_PX;
    const first = Math.max(0, Math.floor((fromPx - begin) / layout.rowPx));
    const end = Math.min(block.rows, Math.ceil((toPx - begin) / layout.rowPx));
    for (let row = first; row < end; row++) rows.push(rowOf(layout, place, row));
  }
  return rows;
}

/** Return the row of a picture. */
export function rowWith(layout, index) {
  const place = layout.blocks.findLastIndex(({ section }) => section.start <= index);
  if (place < 0) return undefined;
  const { section } = layout.blocks[place];
  return rowOf(layout, place, Math.floor((index - section.start) / layout.columns));
}

/**
 * Return the picture so many rows below another one, or above it, in the same column as far as
 * there is one.
 */
export function moved(layout, index, rows) {
  const row = rowWith(layout, index);
  if (!row) return index;
  const own = row.block.firstRow + Math.floor((row.from - row.block.section.start) / layout.columns);
  const wanted = Math.min(Math.max(own + rows, 0), layout.rowCount - 1);
  const { section, firstRow } = layout.blocks[placeOfLast(layout.blocks, "firstRow", wanted)];
  const place = (wanted - firstRow) * layout.columns + (index - row.from);
  return section.start + Math.min(place, section.count - 1);
}

function headingOf(block, place) {
  const { start } = block.section;
  const ariaRow = block.firstRow + place + 1;
  return { block, top: block.top, ariaRow, isHeading: true, from: start, to: start };
}

function rowOf(layout, place, row) {
  const block = layout.blocks[place];
  const from = block.section.start + row * layout.columns;
  return {
    block,
    top: block.top + HEADING_PX + row * layout.rowPx,
    ariaRow: block.firstRow + place + row + 2,
    isHeading: false,
    from,
    to: Math.min(from + layout.columns, block.section.start + block.section.count),
  };
}
