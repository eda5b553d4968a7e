/** The dialog that lists the keys of the view, which `?` opens. */
import { html, useState } from "../core/html.js";
import { activeGroups } from "../core/shortcuts.js";
import { hasText, t, textOr } from "../core/text.js";
import { Dialog } from "../parts/dialog.js";

export default function ShortcutsDialog({ onClose }) {
  const [groups] = useState(() => activeGroups().reverse());
  return html`<${Dialog} title=${t("frame.shortcuts")} onClose=${onClose}>
    ${groups.map(({ label, keys }) => html`<section class="shortcuts" key=${label}>
      <h3>${t(`${label}.keys`)}</h3>
      <dl>
        ${Object.keys(keys)
          .filter((key) => hasText(`${label}.keys.${key}`))
          .map((key) => html`<dt key=${key}><${Key} name=${key} /></dt><dd>${t(`${label}.keys.${key}`)}</dd>`)}
      </dl>
    </section>`)}
  <//>`;
}

function Key({ name }) {
  const parts = name.length > 1 ? name.split("+") : [name];
  return parts.map((part) => html`<kbd key=${part}>${keyText(part)}</kbd>`);
}

const ARROWS = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };

function keyText(part) {
  if (part in ARROWS) return ARROWS[part];
  return textOr(`frame.key.${part === " " ? "Space" : part}`, part);
}
