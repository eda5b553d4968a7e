/** The library: all pictures by day, searched, selected and put in order. */
import { html, useEffect, useRef, useState } from "../core/html.js";
import { go, paths } from "../core/router.js";
import { useRender, useStore } from "../core/store.js";
import { useShortcuts } from "../core/shortcuts.js";
import { errorSentence } from "../core/toast.js";
import { t } from "../core/text.js";
import { Button, ButtonLink } from "../parts/button.js";
import { Empty, Failure } from "../parts/empty.js";
import { useActions } from "./selection/actions.js";
import { Grid } from "./grid.js";
import { moved } from "./layout.js";
import { BoardHeader } from "./board_header.js";
import { boards } from "./boards.js";
import { pictureHref, withWords, wordOf } from "./query.js";
import { SearchBar } from "./search_bar.js";
import { ALL, countOf, inverted, NOTHING } from "./selection/selection.js";
import { SelectionBar } from "./selection/selection_bar.js";
import { usePictures } from "./use_pictures.js";
import { useSelection } from "./selection/use_selection.js";

export default function Library({ query }) {
  const q = query.q ?? "";
  const { pictures, error, refresh } = usePictures(q);
  const selected = useSelection(pictures);
  const place = usePlace(pictures);
  const actions = useActions({ pictures, selected, place, refresh });
  const input = useRef(null);
  const search = (text, options) => go(paths.library({ q: text }), options);
  useShortcuts(keysOf({ pictures, selected, place, actions, input }), "library");

  const boardId = wordOf(q, "board");
  const board = useStore(boards).find(({ id }) => id === boardId);
  const isRefused = error?.param === "q";
  return html`<div class="library">
    <h1 class="visually-hidden" tabindex="-1" onFocus=${place.takeBack}>${t("library.title")}</h1>
    <${SearchBar} ...${{ q, input, pictures }} onChange=${search} error=${isRefused ? errorSentence(error) : null}
      onDown=${() => place.focus(place.active)} />
    ${board && html`<${BoardHeader} key=${board.id} board=${board} onDeleted=${() => search(withWords(q, { board: "" }), { replace: true })} />`}
    <p class="visually-hidden" role="status">
      ${pictures.isCounted && t("library.found", { count: pictures.total })}
    </p>
    <${Content} ...${{ q, pictures, error, isRefused, refresh, selected, place, search }} />
    <${SelectionBar} pictures=${pictures} selected=${selected} actions=${actions} />
    ${actions.dialog}
  </div>`;
}

function Content({ q, pictures, error, isRefused, refresh, selected, place, search }) {
  if (isRefused) return html`<${NoPictures} q=${q} search=${search} />`;
  if (!pictures.isCounted) {
    return error ? html`<${Failure} error=${error} onRetry=${refresh} />` : html`<${GridSkeleton} />`;
  }
  if (pictures.total === 0) return html`<${NoPictures} q=${q} search=${search} />`;
  const { selection, toggle, extend } = selected;
  const isSelecting = countOf(selection, pictures.total) > 0;
  const press = (index, event) => {
    event.preventDefault();
    if (event.shiftKey) void extend(place.active, index);
    else toggle(index);
    place.focus(index);
  };
  return html`<${Grid} ...${{ pictures, selection, isSelecting }} active=${place.active} reveals=${place.reveals}
    kept=${pictures.place} label=${t("library.title")} hrefOf=${(picture) => pictureHref(picture.id, q)}
    onFocus=${place.set} onLayout=${place.onLayout} onPress=${press} onToggle=${toggle} />`;
}

function NoPictures({ q, search }) {
  useEffect(() => {
    const heading = document.querySelector(".library h1");
    const isLost = document.activeElement === document.body;
    if (isLost && heading instanceof HTMLElement) heading.focus();
  }, []);
  if (q) {
    return html`<${Empty} icon="search" title=${t("library.nothing_found")}>
      <${Button} icon="close" onClick=${() => search("", { replace: false })}>${t("library.clear_search")}<//>
    <//>`;
  }
  return html`<${Empty} icon="image" title=${t("library.empty")}>
    <${ButtonLink} kind="primary" icon="create" href=${paths.create()}>${t("library.make_first")}<//>
  <//>`;
}

const GridSkeleton = () =>
  html`<div class="grid-skeleton" aria-hidden="true">
    ${Array.from({ length: 24 }, (_, place) => html`<span class="grid-cell" key=${place}></span>`)}
  </div>`;

/** The picture that the keys act on; it stays the same one when others come or go. */
function usePlace(pictures) {
  const { place } = pictures;
  const [reveals, setReveals] = useState(place.id ? 1 : 0);
  const render = useRender();
  const layout = useRef({ layout: null, rows: 1 });
  const found = place.id ? pictures.indexOf(place.id) : -1;
  const active = found >= 0 ? found : Math.max(0, Math.min(place.index, pictures.total - 1));
  const set = (index) => {
    Object.assign(place, { index, id: pictures.at(index)?.id ?? "" });
    render();
  };
  const focus = (index) => {
    set(index);
    setReveals((count) => count + 1);
  };
  const onLayout = (shown, rows) => (layout.current = { layout: shown, rows });
  const isBack = useRef(Boolean(place.id));
  // The frame gives the focus to the heading; a person who comes back goes on at their picture.
  const takeBack = () => {
    if (isBack.current && pictures.total) focus(active);
    isBack.current = false;
  };
  return { active, reveals, set, focus, takeBack, onLayout, layout };
}

/** The keys of the library. */
function keysOf({ pictures, selected, place, actions, input }) {
  const { active } = place;
  const { selection, set, toggle, extend } = selected;
  const last = pictures.total - 1;
  const to = (index) => place.focus(Math.max(0, Math.min(index, last)));
  const below = (rows) => moved(place.layout.current.layout, active, rows);
  const pages = (count) => below(count * place.layout.current.rows);
  const steps = {
    ArrowLeft: () => active - 1,
    ArrowRight: () => active + 1,
    ArrowUp: () => below(-1),
    ArrowDown: () => below(1),
    PageUp: () => pages(-1),
    PageDown: () => pages(1),
    Home: () => 0,
    End: () => last,
  };
  const keys = {};
  for (const [key, step] of Object.entries(steps)) {
    keys[key] = () => to(step());
    keys[`Shift+${key}`] = () => {
      const next = Math.max(0, Math.min(step(), last));
      void extend(active, next);
      to(next);
    };
  }
  const open = () => {
    const picture = pictures.at(active);
    if (picture) go(pictureHref(picture.id, pictures.q));
  };
  const ratings = Object.fromEntries([0, 1, 2, 3, 4, 5].map((rating) => [String(rating), () => actions.rate(rating)]));
  return {
    ...(last < 0 ? {} : keys),
    Enter: open,
    x: () => toggle(active),
    "Ctrl+a": () => set(ALL),
    i: () => set(inverted(selection)),
    s: actions.star,
    ...ratings,
    d: actions.askToDelete,
    Delete: actions.askToDelete,
    t: actions.tag,
    b: actions.putOnBoard,
    z: actions.download,
    v: actions.compare,
    "/": () => input.current?.focus(),
    Escape: () => set(NOTHING),
  };
}
