/** What a picture was made of: prompt, parameters and seconds of each stage. */
import { formatDateTime, formatSeconds, formatSize } from "../core/format.js";
import { html } from "../core/html.js";
import { model, stageTitle } from "../core/models.js";
import { t, textOr } from "../core/text.js";
import { Icon } from "../parts/icon.js";
import { kindTitle } from "../create/offers.js";
import { copy } from "./copy.js";

/** Of a job's request: what is shown elsewhere, or says nothing about the picture alone. */
const NOT_LISTED = new Set(["kind", "prompt", "negative_prompt", "n", "width", "height", "seed", "decoder_seed", "latent_id", "variants", "hero_id", "image", "stop_after"]);

export function Prompt({ text, negative }) {
  return html`<section class="prompt">
    <p dir="auto">${text || t("viewer.no_prompt")}</p>
    ${text && html`<${CopyButton} text=${text} name=${t("viewer.prompt")} />`}
    ${negative && html`<p class="negative" dir="auto">${t("viewer.without", { text: negative })}</p>`}
  </section>`;
}

export function Parameters({ job, image }) {
  const { request } = job;
  const rest = Object.entries(request).filter(
    ([name, value]) => !NOT_LISTED.has(name) && value !== null && typeof value !== "object",
  );
  const rows = [
    ["made", formatDateTime(job.finished_at ?? job.created_at)],
    ["kind", kindTitle(request.kind)],
    ["size", formatSize(image.width, image.height)],
    ["seed", String(image.seed)],
    ["decoder_seed", String(image.decoder_seed)],
    ...rest.map(([name, value]) => [name, String(value)]),
    ["id", image.id],
  ];
  return html`<section>
    <h2>${t("viewer.parameters")}</h2>
    <dl class="parameters">
      ${rows.map(
        ([name, value]) => html`<div key=${name}>
          <dt>${nameOf(name)}</dt>
          <dd><span>${value}</span><${CopyButton} text=${value} name=${nameOf(name)} /></dd>
        </div>`,
      )}
    </dl>
  </section>`;
}

function CopyButton({ text, name }) {
  const label = t("viewer.copy", { name });
  return html`<button
    type="button"
    class="copy-button"
    aria-label=${label}
    title=${label}
    onClick=${() => copy(text, t("viewer.copied", { name }))}
  ><${Icon} name="copy" size=${16} /></button>`;
}

const nameOf = (field) => textOr(`viewer.field.${field}`, field);

/** The seconds of each stage, as bars. */
export function Cost({ job }) {
  const seconds = Object.entries(job.cost ?? {}).filter(([, value]) => value > 0);
  if (!seconds.length) return null;
  const all = seconds.reduce((sum, [, value]) => sum + value, 0);
  const title = (key) => {
    const stage = model.get().stages.find(({ name }) => key === `${name}_s`);
    return stage ? stageTitle(stage.name) : t("viewer.cost_other");
  };
  return html`<section>
    <h2>${t("viewer.cost")} <span class="total">${formatSeconds(all)}</span></h2>
    <ul class="cost">
      ${seconds.map(
        ([key, value]) => html`<li key=${key}>
          <span>${title(key)}</span><span>${formatSeconds(value)}</span>
          <span class="bar"><span style=${{ width: `${(100 * value) / all}%` }}></span></span>
        </li>`,
      )}
    </ul>
    ${job.images.length > 1 && html`<p class="soft small">${t("viewer.cost_of", { count: job.images.length })}</p>`}
  </section>`;
}
