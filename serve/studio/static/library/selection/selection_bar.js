/** What is selected and what can be done with it, at the lower edge while something is. */
import { html } from "../../core/html.js";
import { may } from "../../core/session.js";
import { t } from "../../core/text.js";
import { Button, IconButton } from "../../parts/button.js";
import { Icon } from "../../parts/icon.js";
import { Menu } from "../../parts/menu.js";
import { ALL, countOf, inverted, NOTHING } from "./selection.js";

export function SelectionBar({ pictures, selected, actions }) {
  const { selection, set } = selected;
  const count = countOf(selection, pictures.total);
  if (!count) return null;
  return html`<section class="selection-bar" aria-label=${t("library.selection")}>
    <div class="selection-count">
      <${IconButton} icon="close" label=${t("library.clear_selection")} onClick=${() => set(NOTHING)} />
      <span role="status">${t("library.selected", { count })}</span>
      ${count < pictures.total &&
      html`<${Button} kind="quiet" onClick=${() => set(ALL)}>${t("library.select_all", { count: pictures.total })}<//>`}
      <${Button} kind="quiet" onClick=${() => set(inverted(selection))}>${t("library.invert")}<//>
    </div>
    <div class="selection-actions" aria-busy=${actions.isBusy}>
      ${may("create") && html`<${Marks} actions=${actions} />`}
      ${count === 2 &&
      html`<${IconButton} icon="compare" label=${t("library.compare")} onClick=${actions.compare} />`}
      ${may("create") && html`<${IconButton} icon="send" label=${t("asset.action.submit")} onClick=${actions.submit} />`}
      <${Menu} label=${t("library.download")} opens="up" items=${[
        { text: t("library.download"), onSelect: actions.download },
        { text: t("asset.export"), onSelect: actions.export },
      ]}><${Icon} name="download" /><//>
      ${may("create") &&
      html`<${IconButton} icon="trash" kind="danger" label=${t("library.delete")} onClick=${actions.askToDelete} />`}
    </div>
  </section>`;
}

function Marks({ actions }) {
  const ratings = [5, 4, 3, 2, 1, 0].map((rating) => ({
    text: rating ? "★".repeat(rating) : t("library.no_rating"),
    onSelect: () => actions.rate(rating),
  }));
  return html`<${IconButton} icon="star" label=${t("library.star")} onClick=${actions.star} />
    <${Menu} label=${t("library.rate")} items=${ratings} opens="up"><span aria-hidden="true">1–5</span><//>
    <${IconButton} icon="tag" label=${t("library.tag_action")} onClick=${actions.tag} />
    <${IconButton} icon="board" label=${t("library.board_action")} onClick=${actions.putOnBoard} />`;
}
