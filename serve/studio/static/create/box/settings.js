/** All other fields of the kind of job, each with the control that its limits ask for. */
import { formatNumber } from "../../core/format.js";
import { html } from "../../core/html.js";
import { operation } from "../../core/models.js";
import { t, textOr } from "../../core/text.js";
import { Button } from "../../parts/button.js";
import { RangeField, SelectField, TextField } from "../../parts/field.js";
import { draft, setValue } from "../draft.js";

/** Fields with a control of their own in the box. */
const ELSEWHERE = new Set(["prompt", "template", "variants", "image", "latent_id", "hero", "n", "seed", "stop_after"]);
/** A number that has more values than this is typed, not dragged. */
const MOST_DRAGGED = 1000;

export default function Settings({ kind, values }) {
  const fields = (operation(kind)?.fields ?? []).filter(({ name }) => !ELSEWHERE.has(name));
  const isChanged = fields.some(({ name }) => values[name] !== undefined);
  const reset = () => {
    const kept = Object.entries(values).filter(([name]) => ELSEWHERE.has(name));
    draft.update((now) => ({ ...now, values: Object.fromEntries(kept) }));
  };
  return html`<div class="settings">
    ${fields.map((one) => html`<${Control} key=${one.name} field=${one} value=${values[one.name]} />`)}
    ${isChanged && html`<${Button} kind="quiet" class="small" icon="redo" onClick=${reset}>${t("create.reset")}<//>`}
  </div>`;
}

function Control({ field, value }) {
  const { name, limits, words, choices } = field;
  const schema = limits.anyOf?.[0] ?? limits;
  const label = textOr(`create.field.${name}`, name);
  const hint = textOr(`create.hint.${name}`);
  const set = (next) => setValue(name, next);
  const common = { label, hint, name };
  const isWordless = Object.keys(words).length === 0;
  if (choices.length > 0 && isWordless) return html`<${Choice} ...${common} field=${field} value=${value} onSet=${set} />`;
  const isNumber = schema.type === "integer" || schema.type === "number";
  if (!isNumber) return html`<${TextField} ...${common} value=${value ?? ""} onChange=${set} maxlength=${schema.maxLength} />`;
  if (schema.maximum - schema.minimum > MOST_DRAGGED) {
    const typed = (text) => set(text === "" ? undefined : Number(text));
    return html`<${TextField} ...${common} type="number" min=${schema.minimum} max=${schema.maximum}
      placeholder=${t("create.automatic")} value=${value ?? ""} onChange=${typed} />`;
  }
  return html`<${Slider} ...${common} field=${field} schema=${schema} value=${value} onSet=${set} />`;
}

function Choice({ field: { choices, default: usual }, value, onSet, ...rest }) {
  const automatic = usual === null ? [["", t("create.automatic")]] : [];
  const options = [...automatic, ...choices.map((one) => [String(one), String(one)])];
  const choose = (text) => onSet(choices.find((one) => String(one) === text && one !== usual));
  return html`<${SelectField} ...${rest} value=${String(value ?? usual ?? "")} options=${options} onChange=${choose} />`;
}

function Slider({ field: { words, default: usual }, schema, value, onSet, ...rest }) {
  const { minimum, maximum, type } = schema;
  const step = type === "integer" ? 1 : maximum - minimum > 1 ? 0.5 : 0.05;
  const current = words[value ?? usual] ?? value ?? usual;
  const shown = current === null ? t("create.automatic") : formatNumber(current, { maximumFractionDigits: 2 });
  return html`<${RangeField} ...${rest} value=${current ?? minimum} min=${minimum} max=${maximum} step=${step}
    shown=${shown} onChange=${onSet} />`;
}
