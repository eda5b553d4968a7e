// @ts-check
/** Buttons; other properties, such as `onClick` or `aria-pressed`, go to the element. */
import { html } from "../core/html.js";
import { Link } from "../core/router.js";
import { Icon } from "./icon.js";

/**
 * @typedef {object} ButtonProps
 * @property {"primary" | "plain" | "quiet" | "danger"} [kind] one `primary` a view at most
 * @property {string} [icon] name of an icon before the words
 * @property {boolean} [busy] waits for an answer: a second press does nothing
 * @property {string} [class]
 * @property {any} [children]
 */

/** @param {ButtonProps & Record<string, any>} props */
export function Button({ kind = "plain", icon, busy = false, class: extra = "", children, onClick, ...rest }) {
  const click = (event) => (busy ? event.preventDefault() : onClick?.(event));
  return html`<button type="button" class="button ${kind} ${extra}" aria-busy=${busy} onClick=${click} ...${rest}>
    ${icon && html`<${Icon} name=${icon} size=${18} />`}${children}
  </button>`;
}

/**
 * A button with an icon alone; `label` is its name and the text beside the pointer.
 * @param {{icon: string, label: string, kind?: string, class?: string} & Record<string, any>} props
 */
export function IconButton({ icon, label, kind = "quiet", class: extra = "", ...rest }) {
  return html`<button type="button" class="icon-button ${kind} ${extra}" aria-label=${label} title=${label} ...${rest}>
    <${Icon} name=${icon} />
  </button>`;
}

/**
 * A link within the page that looks like a button.
 * @param {ButtonProps & {href: string} & Record<string, any>} props
 */
export function ButtonLink({ kind = "plain", icon, class: extra = "", children, ...rest }) {
  return html`<${Link} class="button ${kind} ${extra}" ...${rest}>
    ${icon && html`<${Icon} name=${icon} size=${18} />`}${children}
  <//>`;
}
