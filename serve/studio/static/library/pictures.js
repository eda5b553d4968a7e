/** The pictures that a search finds: counted by day at once, loaded as they are looked at. */
import * as api from "../core/api.js";
import { store } from "../core/store.js";
import { placeOfLast, sectionsOf, withStarts } from "./sections.js";

const PAGE = 200;
const MOST_LOADED = 10_000;

/** The pictures of one search, shared by the library and the viewer. */
export class Pictures {
  #refreshes = 0;
  #refreshed = 0;

  constructor(q) {
    this.q = q;
    this.sections = [];
    this.total = 0;
    this.isCounted = false;
    /** The places, from and to, that were loaded last. */
    this.shown = [0, 0];
    /** The picture that was looked at last, and how far the grid was scrolled. */
    this.place = { id: "", index: 0, scrollTop: 0 };
    /** Changes with each change of what is loaded or counted. */
    this.version = store(0);
  }

  /**
   * Count the pictures again, and load what changed of the loaded ones; if it `isStale`, the loaded
   * pictures themselves have changed.
   */
  async refresh({ isStale = false } = {}) {
    const number = ++this.#refreshes;
    const { days } = await api.get("/v1/library/timeline", { query: { q: this.q } });
    const known = new Map(this.sections.map((section) => [section.first, section]));
    const sections = await Promise.all(
      sectionsOf(days).map((section) => {
        const old = known.get(section.first);
        if (!old || (isStale && !old.items.length)) return section;
        if (!isStale) return this.#renewed(section, old);
        const [from, to] = this.shown;
        return old.start < to && old.start + old.count > from ? this.#begun(section) : section;
      }),
    );
    // A slow answer must not undo a later one.
    if (number < this.#refreshed) return;
    this.#refreshed = number;
    this.#commit(sections);
  }

  /** Return a picture; undefined while it is not loaded. */
  at(index) {
    const section = this.sectionAt(index);
    return section?.items[index - section.start];
  }

  sectionAt(index) {
    return this.sections[placeOfLast(this.sections, "start", index)];
  }

  /** Return the place of a loaded picture; -1 if it is not loaded. */
  indexOf(id) {
    for (const section of this.sections) {
      const place = section.items.findIndex((picture) => picture.id === id);
      if (place >= 0) return section.start + place;
    }
    return -1;
  }

  /** Load pictures up to an exclusive end; what is loaded already costs nothing. */
  async load(from, to) {
    this.shown = [from, to];
    const wanted = this.sections.filter(({ start, count }) => start < to && start + count > from);
    await Promise.all(wanted.map((section) => this.#fill(section, to - section.start)));
    this.#forget(from, to);
  }

  /**
   * Load the pictures of a day until one of them is found. Returns its place; -1 if the search does
   * not find it.
   */
  async find(id, day) {
    const section = this.sections.find(({ first, last }) => first <= day && day <= last);
    if (section && this.indexOf(id) < 0) await this.#fill(section, section.count);
    return this.indexOf(id);
  }

  /** Show changes of a picture. */
  change(id, changes) {
    for (const section of this.sections) {
      section.items = section.items.map((one) => (one.id === id ? { ...one, ...changes } : one));
    }
    this.version.update((count) => count + 1);
  }

  #fill(section, wanted) {
    section.wanted = Math.max(section.wanted, Math.min(wanted, section.count));
    if (section.items.length >= section.wanted) return section.loading ?? Promise.resolve();
    section.loading ??= this.#loadPages(section).finally(() => (section.loading = null));
    return section.loading;
  }

  async #loadPages(section) {
    while (section.items.length < section.wanted) {
      const isAtEnd = section.items.length > 0 && !section.cursor;
      if (!isAtEnd) {
        const page = await this.#page(section, section.cursor);
        section.items = [...section.items, ...page.items];
        section.cursor = page.next_cursor ?? "";
      }
      // Some may have been deleted since they were counted.
      if (!section.cursor) section.count = section.wanted = section.items.length;
      this.#commit(this.sections);
    }
  }

  #page({ first, last }, cursor) {
    const q = `${this.q} after:${first} before:${dayAfter(last)}`.trim();
    return api.get("/v1/library", { query: { q, cursor, limit: PAGE } });
  }

  /** Return a section of a new count with the loaded pictures of the old one. */
  async #renewed(section, old) {
    if (old.counted === section.counted) return Object.assign(old, { last: section.last });
    const [first] = old.items;
    if (!first) return section;
    const { items } = await this.#begun(section);
    const added = items.findIndex((picture) => picture.id === first.id);
    if (added !== section.counted - old.counted) return section;
    return Object.assign(section, { items: [...items.slice(0, added), ...old.items], cursor: old.cursor });
  }

  /** Load the first page of a section. */
  async #begun(section) {
    const page = await this.#page(section, "");
    return Object.assign(section, { items: page.items, cursor: page.next_cursor ?? "" });
  }

  #commit(sections) {
    this.sections = withStarts(sections.filter(({ count }) => count > 0));
    this.total = this.sections.reduce((sum, { count }) => sum + count, 0);
    this.isCounted = true;
    this.version.update((count) => count + 1);
  }

  /** Forget the pictures of the sections that are farthest from a range, if too many are loaded. */
  #forget(from, to) {
    let loaded = this.sections.reduce((sum, { items }) => sum + items.length, 0);
    const middle = (from + to) / 2;
    const far = (section) => Math.abs(section.start + section.count / 2 - middle);
    const others = this.sections.filter(
      ({ start, count, items, loading }) =>
        items.length && !loading && (start + count <= from || start >= to),
    );
    for (const section of others.sort((one, other) => far(other) - far(one))) {
      if (loaded <= MOST_LOADED) return;
      loaded -= section.items.length;
      Object.assign(section, { items: [], cursor: "", wanted: 0 });
    }
  }
}

function dayAfter(day) {
  return new Date(Date.parse(day) + 86_400_000).toISOString().slice(0, 10);
}
