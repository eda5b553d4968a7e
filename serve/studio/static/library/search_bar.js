/** The search of the library: its words as they are written, and menus that set some of them. */
import { html, useEffect, useRef, useState } from "../core/html.js";
import { useStore } from "../core/store.js";
import { formatSize } from "../core/format.js";
import { model } from "../core/models.js";
import { t } from "../core/text.js";
import { Icon } from "../parts/icon.js";
import { Menu } from "../parts/menu.js";
import { kindTitle } from "../create/offers.js";
import { boards, loadBoards } from "./boards.js";
import { MOST_CHARACTERS, withWords, wordOf } from "./query.js";

const TYPED_MS = 300;
const DAY_MS = 86_400_000;
const STATES = ["draft", "submitted", "approved", "rejected", "published", "archived"];
const RATINGS = ["5", ">=4", ">=3", ">=1"];

/**
 * `error` says why the service refuses the search; `onDown` leads from the field to the pictures,
 * whose sizes are offered.
 */
export function SearchBar({ q, onChange, input, error, pictures, onDown }) {
  const [draft, setDraft, finish] = useDraft(q, onChange);
  const pressed = (event) => {
    if (event.key === "Enter") finish();
    if (event.key === "ArrowDown" || event.key === "Enter") onDown();
    if (event.key === "Escape") input.current?.blur();
  };
  const set = (changes) => onChange(withWords(q, changes), { replace: false });
  return html`<div class="search-bar">
    <form class="search-field" role="search" onSubmit=${(event) => event.preventDefault()}>
      <${Icon} name="search" size=${18} />
      <input type="search" ref=${input} value=${draft} maxlength=${MOST_CHARACTERS} autocomplete="off" spellcheck=${false}
        placeholder=${t("library.search_hint")} aria-label=${t("library.search")}
        aria-invalid=${Boolean(error)} aria-describedby=${error ? "search-error" : undefined}
        onInput=${(event) => setDraft(event.currentTarget.value)} onKeyDown=${pressed} />
    </form>
    <div class="filters" role="group" aria-label=${t("library.filters")}>
      <${Filters} q=${q} set=${set} pictures=${pictures} />
    </div>
    ${error && html`<p class="field-error" id="search-error" role="alert">${error}</p>`}
  </div>`;
}

/** Return the text as it is typed; the search follows when typing pauses. */
function useDraft(q, onChange) {
  const [draft, setDraft] = useState(q);
  const timer = useRef(0);
  const isTyping = useRef(false);
  useEffect(() => {
    if (timer.current || q === draft) return;
    setDraft(q);
    isTyping.current = false;
  }, [q]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const search = (text) => {
    clearTimeout(timer.current);
    timer.current = 0;
    // The first search of some typing is a step that back returns from; the next ones replace it.
    if (text !== q) onChange(text, { replace: isTyping.current });
    isTyping.current = true;
  };
  const type = (text) => {
    setDraft(text);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => search(text), TYPED_MS);
  };
  const finish = () => {
    search(draft);
    isTyping.current = false;
  };
  return [draft, type, finish];
}

function Filters({ q, set, pictures }) {
  const operations = model.get().operations;
  const sizes = sizesOf(pictures);
  const known = useStore(boards);
  useEffect(() => void loadBoards().catch(() => {}), []);
  const choices = [
    ["kind", operations.map(({ name }) => [name, kindTitle(name)])],
    ["size", sizes.map((size) => [size, sizeText(size)])],
    ["star", [["yes", t("library.starred")]]],
    ["state", STATES.map((state) => [state, t(`asset.state.${state}`)])],
    ["rating", RATINGS.map((rating) => [rating, ratingText(rating)])],
    ...(known.length ? [["board", known.map(({ id, title }) => [id, title])]] : []),
  ];
  return html`${choices.map(
      ([name, options]) => html`<${Filter} key=${name} name=${name} q=${q} set=${set} options=${options} />`,
    )}
    <${DateFilter} q=${q} set=${set} />`;
}

/** A menu of one word of the search. */
function Filter({ name, q, set, options }) {
  const value = wordOf(q, name);
  const known = options.find(([one]) => one === value)?.[1] ?? value;
  const items = [["", t(`library.any.${name}`)], ...options].map(([one, text]) => ({
    text,
    isChecked: one === value,
    onSelect: () => set({ [name]: one }),
  }));
  return html`<${FilterMenu} label=${t(`library.filter.${name}`)} value=${known} items=${items} />`;
}

function DateFilter({ q, set }) {
  const after = wordOf(q, "after");
  const before = wordOf(q, "before");
  const spans = [
    ["today", 0],
    ["week", 6],
    ["month", 29],
    ["year", 364],
  ].map(([name, days]) => [t(`library.days.${name}`), daysAgo(Number(days))]);
  const known = before ? null : spans.find(([, day]) => day === after)?.[0];
  const items = [[t("library.any.date"), ""], ...spans].map(([text, day]) => ({
    text,
    isChecked: day === after && !before,
    onSelect: () => set({ after: day, before: "" }),
  }));
  const value = known ?? [after, before].filter(Boolean).join(" – ");
  return html`<${FilterMenu} label=${t("library.filter.date")} value=${value} items=${items} />`;
}

function FilterMenu({ label, value, items }) {
  const name = value ? `${label}: ${value}` : label;
  const look = `filter${value ? " is-set" : ""}`;
  return html`<${Menu} label=${name} items=${items} class=${look}>
    <span>${value || label}</span><${Icon} name="chevron" size=${16} />
  <//>`;
}

const daysAgo = (days) => new Date(Date.now() - days * DAY_MS).toISOString().slice(0, 10);

/** Return the sizes of the loaded pictures, most frequent first. */
function sizesOf(pictures) {
  const counts = new Map();
  for (const { width, height } of pictures.sections.flatMap(({ items }) => items)) {
    const size = `${width}x${height}`;
    counts.set(size, (counts.get(size) ?? 0) + 1);
  }
  return [...counts].sort(([, one], [, other]) => other - one).map(([size]) => size).slice(0, 12);
}

function ratingText(rating) {
  const stars = "★".repeat(Number(rating.at(-1)));
  return rating.startsWith(">") ? t("library.at_least", { stars }) : stars;
}

function sizeText(size) {
  const [width, height] = size.split("x").map(Number);
  return formatSize(width, height);
}
