/** The controls that are used most: the kind of job, the size, how many, the seed, draft sheets. */
import { html } from "../../core/html.js";
import { field, model } from "../../core/models.js";
import { t } from "../../core/text.js";
import { Chips } from "../../parts/chips.js";
import { Icon } from "../../parts/icon.js";
import { change, draft, setValue, sourceField } from "../draft.js";
import { kindTitle, sizesOf, startingOperations } from "../offers.js";

export function QuickControls({ kind, draft: now }) {
  const starting = startingOperations();
  const remix = starting.some((one) => one.name === kind) ? [] : [[kind, t("create.remix")]];
  const kinds = [...starting.map((one) => [one.name, kindTitle(one.name)]), ...remix];
  return html`<div class="quick">
    ${kinds.length > 1 && html`<${Chips} label=${t("create.kind")} isLabelHidden value=${kind} options=${kinds} onChange=${chooseKind} />`}
    <${Sizes} kind=${kind} draft=${now} />
    <${Count} kind=${kind} values=${now.values} />
    ${field(kind, "seed") && html`<${Seed} limits=${field(kind, "seed").limits} draft=${now} />`}
    <${DraftSheet} kind=${kind} values=${now.values} />
  </div>`;
}

function chooseKind(kind) {
  const { source, values } = draft.get();
  const keepsSource = sourceField({ ...draft.get(), kind }) !== null;
  const template = values.template ?? values.prompt;
  change({ kind, source: keepsSource ? source : null, values: { ...values, template } });
}

function Sizes({ kind, draft: { values, source } }) {
  const width = field(kind, "width");
  // A picture of the service keeps its own size.
  if (!width || (source && !source.isUpload)) return null;
  const { defaults } = model.get();
  const isOpen = width.default === null;
  const chosen = values.width ? [values.width, values.height] : isOpen ? [] : [defaults.width, defaults.height];
  const options = sizesOf(kind).map((size) => [
    `${size.width} ${size.height}`,
    html`<${Shape} ...${size} /><span class="visually-hidden">${size.width} × ${size.height}, </span>${size.name}`,
  ]);
  if (isOpen) options.unshift(["", t("create.size.own")]);
  const choose = (value) => {
    const [across, up] = value.split(" ").map(Number);
    change({ values: { ...values, width: across || undefined, height: up || undefined } });
  };
  return html`<${Chips} label=${t("create.size")} isLabelHidden value=${chosen.join(" ")} options=${options} onChange=${choose} />`;
}

/** The outline of an aspect. */
function Shape({ width, height }) {
  const scale = 14 / Math.max(width, height);
  return html`<span class="shape" style=${{ width: `${width * scale}px`, height: `${height * scale}px` }}></span>`;
}

function Count({ kind, values }) {
  const found = field(kind, "n");
  if (!found) return null;
  const { minimum, maximum } = found.limits;
  const counts = [...new Set([1, 2, 4, maximum])].filter((one) => one >= minimum && one <= maximum);
  const options = counts.map((one) => [one, html`${one}<span class="visually-hidden"> ${t("create.pictures", { count: one })}</span>`]);
  const choose = (value) => setValue("n", value);
  return html`<${Chips} label=${t("create.count")} isLabelHidden value=${values.n ?? found.default} options=${options} onChange=${choose} />`;
}

function Seed({ limits, draft: { values, isSeedLocked } }) {
  const { minimum, maximum } = limits;
  const toggle = () => {
    const seed = values.seed ?? Math.floor(Math.random() * (maximum + 1));
    change({ isSeedLocked: !isSeedLocked, values: { ...values, seed } });
  };
  const type = (event) => setValue("seed", event.target.value === "" ? undefined : Number(event.target.value));
  return html`<span class="seed">
    <button type="button" class="button small toggle ${isSeedLocked ? "on" : "quiet"}" aria-pressed=${isSeedLocked}
      title=${t("create.seed.lock")} onClick=${toggle}>
      <${Icon} name=${isSeedLocked ? "lock" : "unlock"} size=${16} />${t("create.field.seed")}
    </button>
    ${isSeedLocked && html`<input class="input" type="number" name="seed" min=${minimum} max=${maximum}
      aria-label=${t("create.seed.value")} value=${values.seed ?? ""} onInput=${type} />`}
  </span>`;
}

function DraftSheet({ kind, values }) {
  const [stage] = field(kind, "stop_after")?.limits.enum ?? [];
  if (!stage) return null;
  const isOn = values.stop_after === stage;
  return html`<button type="button" class="button small toggle ${isOn ? "on" : "quiet"}" aria-pressed=${isOn}
    title=${t("create.drafts.hint")} onClick=${() => setValue("stop_after", isOn ? undefined : stage)}>
    ${t("create.drafts")}
  </button>`;
}
