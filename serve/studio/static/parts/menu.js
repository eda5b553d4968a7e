/** A button that opens a short menu; arrow keys move in it, Escape closes it. */
import { html, useEffect, useRef, useState } from "../core/html.js";
import { Icon } from "./icon.js";

/**
 * Its items have a text and `onSelect`, and those of a choice `isChecked`. The children are the
 * content of the button; an icon if there are none.
 */
export function Menu({ label, items, children, class: look = "icon-button quiet", opens = "down" }) {
  const [isOpen, setOpen] = useState(false);
  const root = useRef(null);
  const button = useRef(null);
  const shown = items.filter(Boolean);

  useEffect(() => {
    if (!isOpen) return undefined;
    root.current.querySelector("[role^=menuitem]")?.focus();
    const outside = (event) => root.current?.contains(event.target) || setOpen(false);
    document.addEventListener("pointerdown", outside);
    return () => document.removeEventListener("pointerdown", outside);
  }, [isOpen]);

  const close = () => {
    setOpen(false);
    button.current?.focus();
  };
  const select = (item) => {
    close();
    item.onSelect();
  };
  const keyDown = (event) => {
    if (!isOpen) return;
    if (event.key === "Escape") close();
    else if (event.key === "Tab") return setOpen(false);
    else if (!moved(root.current, event.key)) return;
    event.preventDefault();
    event.stopPropagation();
  };

  return html`<div class="menu" ref=${root} onKeyDown=${keyDown}>
    <button type="button" ref=${button} class=${look} aria-haspopup="menu" aria-expanded=${isOpen}
      aria-label=${label} title=${label} onClick=${() => setOpen(!isOpen)}>
      ${children ?? html`<${Icon} name="more" />`}
    </button>
    ${isOpen && html`<div class="menu-items ${opens}" role="menu" aria-label=${label}>
      ${shown.map((item) => html`<${Item} key=${item.text} item=${item} onSelect=${select} />`)}
    </div>`}
  </div>`;
}

function Item({ item, onSelect }) {
  const isChoice = item.isChecked !== undefined;
  return html`<button type="button" tabindex="-1" class="menu-item ${item.isDangerous ? "danger" : ""}"
    role=${isChoice ? "menuitemradio" : "menuitem"} aria-checked=${isChoice ? item.isChecked : undefined}
    onClick=${() => onSelect(item)}>
    ${item.icon && html`<${Icon} name=${item.icon} size=${18} />`}
    <span>${item.text}</span>
    ${item.isChecked && html`<${Icon} name="check" size=${18} />`}
  </button>`;
}

/** Move the focus within the menu; return whether the key does that. */
function moved(root, key) {
  const all = [...root.querySelectorAll("[role^=menuitem]")];
  const at = all.indexOf(document.activeElement);
  const places = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 };
  if (!(key in places)) return false;
  all[(places[key] + all.length) % all.length]?.focus();
  return true;
}
