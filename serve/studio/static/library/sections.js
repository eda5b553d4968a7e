/** The pictures of a search, divided by the days on which they were made. */

/**
 * A section holds the pictures of a day, or of successive days with few pictures: from the `first`
 * day in UTC to the `last`; `counted` by the timeline, of which `count` are there (fewer if some
 * were just deleted); `start`, the index of its first picture in the library; `items`, its first
 * pictures, as in `GET /v1/library`, as far as they are loaded; `cursor` of the page after them;
 * how many are `wanted`, and the promise of those that are `loading`.
 */

const LEAST_OF_A_SECTION = 24;

/** Group days into sections, both latest first. */
export function sectionsOf(days) {
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

/** Return the place of the last one of a list whose value of a name, by which it is ordered, is not more. */
export function placeOfLast(list, name, value) {
  let low = 0;
  let high = list.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (list[middle][name] <= value) low = middle;
    else high = middle;
  }
  return low;
}

/** Number the pictures through all sections. */
export function withStarts(sections) {
  let start = 0;
  for (const section of sections) {
    section.start = start;
    start += section.count;
  }
  return sections;
}
