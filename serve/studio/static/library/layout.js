// @ts-check
/** Where pictures stand in the grid: rows of equal squares under the headings of their sections. */

/**
 * @typedef {object} Block a section as it is laid out
 * @property {import("./sections.js").Section} section
 * @property {number} top in pixels
 * @property {number} firstRow rows of pictures before it, in all sections
 * @property {number} rows of pictures
 *
 * @typedef {object} Layout
 * @property {Block[]} blocks
 * @property {number} columns
 * @property {number} cellPx the side of a picture
 * @property {number} rowPx the height of a row with the gap under it
 * @property {number} heightPx of all
 * @property {number} rowCount rows of pictures, in all
 *
 * @typedef {object} Row
 * @property {Block} block
 * @property {number} top in pixels
 * @property {number} ariaRow counted from 1, headings included
 * @property {boolean} isHeading
 * @property {number} from index of the first picture
 * @property {number} to index after the last picture
 */

export const HEADING_PX = 52;
const LEAST_COLUMNS = 3;
const CELL_PX = 208;

/**
 * Lay out sections.
 * @param {import("./sections.js").Section[]} sections
 * @param {number} widthPx
 * @returns {Layout}
 */
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

/**
 * Return the block at a height, or at a row of pictures.
 * @param {Layout} layout
 * @param {"top" | "firstRow"} name
 * @param {number} value
 * @returns {number} its place among the blocks
 */
export function blockAt({ blocks }, name, value) {
  let low = 0;
  let high = blocks.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (blocks[middle][name] <= value) low = middle;
    else high = middle;
  }
  return low;
}

/**
 * Return the rows between two heights, headings included.
 * @param {Layout} layout
 * @param {number} fromPx
 * @param {number} toPx
 * @returns {Row[]}
 */
export function rowsBetween(layout, fromPx, toPx) {
  const rows = [];
  for (let place = blockAt(layout, "top", fromPx); place < layout.blocks.length; place++) {
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

/**
 * Return the row of a picture.
 * @param {Layout} layout
 * @param {number} index
 * @returns {Row | undefined}
 */
export function rowWith(layout, index) {
  const place = layout.blocks.findLastIndex(({ section }) => section.start <= index);
  if (place < 0) return undefined;
  const { section } = layout.blocks[place];
  return rowOf(layout, place, Math.floor((index - section.start) / layout.columns));
}

/**
 * Return the picture so many rows below another one, in the same column as far as there is one.
 * @param {Layout} layout
 * @param {number} index
 * @param {number} rows negative: above
 * @returns {number}
 */
export function moved(layout, index, rows) {
  const row = rowWith(layout, index);
  if (!row) return index;
  const own = row.block.firstRow + Math.floor((row.from - row.block.section.start) / layout.columns);
  const wanted = Math.min(Math.max(own + rows, 0), layout.rowCount - 1);
  const { section, firstRow } = layout.blocks[blockAt(layout, "firstRow", wanted)];
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
