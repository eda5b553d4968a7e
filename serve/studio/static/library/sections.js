// @ts-check
/** The pictures of a search, divided by the days on which they were made. */

/**
 * @typedef {Record<string, any> & {id: string, job_id: string, prompt: string}} Picture as in the
 *   answer of `GET /v1/library`
 *
 * @typedef {object} Section pictures of a day, or of successive days with few pictures
 * @property {string} first the earliest day, in UTC
 * @property {string} last the latest day
 * @property {number} counted pictures by the timeline
 * @property {number} count pictures that are there; fewer than counted if some were just deleted
 * @property {number} start the index of its first picture in the library
 * @property {Picture[]} items its first pictures, as far as they are loaded
 * @property {string} cursor of the page after them
 * @property {number} wanted how many are to be loaded
 * @property {Promise<void> | null} loading
 */

const LEAST_OF_A_SECTION = 24;

/**
 * Group days into sections, latest first.
 * @param {{day: string, count: number}[]} days latest first
 * @returns {Section[]}
 */
export function sectionsOf(days) {
  /** @type {Section[]} */
  const sections = [];
  // From the oldest day on, so that a new picture changes the latest section alone.
  for (const { day, count } of [...days].reverse()) {
    const open = sections[0];
    if (open && open.counted < LEAST_OF_A_SECTION) {
      Object.assign(open, { last: day, counted: open.counted + count, count: open.count + count });
    } else {
      const range = { first: day, last: day, counted: count, count, start: 0 };
      sections.unshift({ ...range, items: [], cursor: "", wanted: 0, loading: null });
    }
  }
  return withStarts(sections);
}

/** Number the pictures through all sections. @param {Section[]} sections */
export function withStarts(sections) {
  let start = 0;
  for (const section of sections) {
    section.start = start;
    start += section.count;
  }
  return sections;
}
