/**
 * Buttons; other properties, such as `onClick` or `aria-pressed`, go to the element. A button that
 * is `busy` waits for an answer: a second press does nothing. A view has one of the kind `primary`
 * at most.
 */
import { html } from "../core/html.js";
import { Link } from "../core/router.js";
import { Icon } from "./icon.js";

export function Button({ kind = "plain", icon, busy = false, class: extra = "", children, onClick, ...rest }) {
  const click = (event) => (busy ? event.preventDefault() : onClick?.(event));
  return html`<button type="button" class="button ${kind} ${extra}" aria-busy=${busy} onClick=${click} ...${rest}>
    ${icon && html`<${Icon} name=${icon} size=${18} />`}${children}
  </button>`;
}

/** A button with an icon alone; `label` is its name and the text beside the pointer. */
export function IconButton({ icon, label, kind = "quiet", class: extra = "", ...rest }) {
  return html`<button type="button" class="icon-button ${kind} ${extra}" aria-label=${label} title=${label} ...${rest}>
    <${Icon} name=${icon} />
  </button>`;
}

/** A link within the page that looks like a button. */
export function ButtonLink({ kind = "plain", icon, class: extra = "", children, ...rest }) {
  return html`<${Link} class="button ${kind} ${extra}" ...${rest}>
    ${icon && html`<${Icon} name=${icon} size=${18} />`}${children}
  <//>`;
}
