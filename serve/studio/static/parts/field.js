/** Fields of forms with their label, hint and error. `onChange` gets the value, not the event. */
import { html, useState } from "../core/html.js";

let count = 0;
const useId = () => useState(() => `field-${++count}`)[0];

/**
 * A label, a control, and what is to know of it. The children render the control with attributes.
 */
export function Field({ label, hint, error, children }) {
  const id = useId();
  const note = error || hint;
  const attributes = {
    id,
    "aria-describedby": note ? `${id}-note` : undefined,
    "aria-invalid": error ? true : undefined,
  };
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${children(attributes)}
    ${note && html`<p class=${error ? "field-error" : "soft small"} id="${id}-note">${note}</p>`}
  </div>`;
}

export function TextField({ label, hint, error, value, onChange, ...rest }) {
  return html`<${Field} label=${label} hint=${hint} error=${error}>
    ${(attributes) => html`<input class="input" type="text" value=${value}
      onInput=${(event) => onChange(event.target.value)} ...${rest} ...${attributes} />`}
  <//>`;
}

/** Its options are `[value, text]` pairs. */
export function SelectField({ label, hint, error, value, onChange, options, ...rest }) {
  return html`<${Field} label=${label} hint=${hint} error=${error}>
    ${(attributes) => html`<select class="input" value=${value}
      onChange=${(event) => onChange(event.target.value)} ...${rest} ...${attributes}>
      ${options.map(([one, text]) => html`<option key=${one} value=${one}>${text}</option>`)}
    </select>`}
  <//>`;
}

/** A slider with its value beside it, as the text `shown`. */
export function RangeField({ label, hint, value, onChange, shown, ...rest }) {
  return html`<${Field} label=${label} hint=${hint}>
    ${(attributes) => html`<span class="range">
      <input type="range" value=${value} onInput=${(event) => onChange(Number(event.target.value))}
        aria-valuetext=${shown} ...${rest} ...${attributes} />
      <output for=${attributes.id}>${shown ?? value}</output>
    </span>`}
  <//>`;
}

export function Switch({ label, checked, onChange, hint }) {
  return html`<label class="switch">
    <input type="checkbox" role="switch" checked=${checked} onChange=${(event) => onChange(event.target.checked)} />
    <span>${label}${hint && html`<small>${hint}</small>`}</span>
  </label>`;
}
