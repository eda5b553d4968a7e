/** One of a few values, as chips. */
import { html, useState } from "../core/html.js";

let count = 0;

/**
 * Arrow keys move between the chips, as in a group of radio buttons. The options are
 * `[value, content]` pairs.
 */
export function Chips({ label, value, onChange, options, isLabelHidden = false }) {
  const [name] = useState(() => `chips-${++count}`);
  return html`<fieldset class="chips">
    <legend class=${isLabelHidden ? "visually-hidden" : ""}>${label}</legend>
    <div>
      ${options.map(([one, content]) => html`<label class="chip" key=${one}>
        <input type="radio" name=${name} checked=${one === value} onChange=${() => onChange(one)} />
        <span>${content}</span>
      </label>`)}
    </div>
  </fieldset>`;
}
