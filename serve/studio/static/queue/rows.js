/** A job as a row of the queue. */
import { formatAgo, formatDateTime, formatSeconds, formatSize } from "../core/format.js";
import { html, useState } from "../core/html.js";
import { indicesOf } from "../core/job_events.js";
import { Link, paths } from "../core/router.js";
import { inbox } from "../core/submissions.js";
import { t } from "../core/text.js";
import { errorSentence } from "../core/toast.js";
import { kindTitle } from "../create/offers.js";
import { Progress } from "../create/progress.js";
import { ButtonLink, IconButton } from "../parts/button.js";
import { Icon } from "../parts/icon.js";
import { thumbUrl } from "../parts/picture.js";

const CELLS = 4;

export const promptOf = (job) => job.request.prompt || t("queue.no_prompt");

/**
 * A job that is queued, runs, or waits for a choice. Without `onSelect` it may not be cancelled; it
 * `mayChoose` from the compositions of a draft.
 */
export function OpenRow({ job, owner, isSelected, onSelect, onCancel, mayChoose }) {
  const prompt = promptOf(job);
  return html`<li class="queue-row" data-job=${job.id}>
    ${onSelect && html`<label class="queue-check">
      <input type="checkbox" checked=${isSelected} aria-label=${t("queue.select", { prompt })}
        onChange=${(event) => onSelect(event.target.checked)} />
    </label>`}
    <${Mosaic} job=${job} />
    <div class="queue-words">
      <p class="queue-prompt">${prompt}</p>
      <${Facts} job=${job} owner=${owner} />
      ${job.state === "waiting" ? html`<p class="small">${waitingText(job)}</p>` : html`<${Progress} job=${job} />`}
    </div>
    <div class="queue-actions">
      ${mayChoose && html`<${ButtonLink} href=${paths.create({ job: job.id })}>${t("queue.choose")}<//>`}
      ${onSelect && html`<${IconButton} icon="close" label=${t("queue.cancel_one", { prompt })} onClick=${onCancel} />`}
    </div>
  </li>`;
}

export function EndedRow({ job, owner }) {
  const first = job.images[0];
  const prompt = promptOf(job);
  return html`<li class="queue-row ended" data-job=${job.id}>
    <${Mosaic} job=${job} />
    <div class="queue-words">
      ${first ? html`<${Link} class="queue-prompt" href=${paths.picture(first.id)}>${prompt}<//>` : html`<p class="queue-prompt">${prompt}</p>`}
      <${Facts} job=${job} owner=${owner} />
      <p class="queue-outcome small ${job.state}">
        <${Icon} name=${OUTCOMES[job.state]} size=${16} />
        <span>${outcome(job)} · <time datetime=${job.finished_at} title=${formatDateTime(job.finished_at)}>${formatAgo(job.finished_at)}</time></span>
      </p>
    </div>
  </li>`;
}

const OUTCOMES = { succeeded: "check", failed: "warning", cancelled: "stop" };

function outcome(job) {
  if (job.state === "failed") return errorSentence(job.error);
  if (job.state === "cancelled") return t("queue.ended.cancelled");
  if (!job.images.length) return t("queue.ended.without");
  const seconds = formatSeconds(Object.values(job.cost).reduce((sum, one) => sum + one, 0));
  return `${t("queue.ended.made", { count: job.images.length })} · ${t("queue.cost", { seconds })}`;
}

function Facts({ job, owner }) {
  const { width, height } = job.request;
  const count = indicesOf(job).length;
  const facts = [kindTitle(job.kind), formatSize(width, height), count > 1 && t("queue.pictures", { count })];
  return html`<p class="queue-facts soft small">
    ${facts.filter(Boolean).join(" · ")}
    ${owner && html` <span class="queue-owner"><${Icon} name="key" size=${14} />${owner}</span>`}
  </p>`;
}

function waitingText(job) {
  return job.deadline_at ? t("queue.until", { time: formatDateTime(job.deadline_at) }) : t("queue.waits");
}

/** The pictures of a job so far, four at most; decoration beside its prompt. */
function Mosaic({ job }) {
  const all = shownUrls(job);
  const urls = all.slice(0, CELLS);
  if (job.finished_at && !urls.length) {
    return html`<div class="queue-mosaic none" aria-hidden="true"><${Icon} name=${OUTCOMES[job.state]} size=${22} /></div>`;
  }
  return html`<div class="queue-mosaic" data-cells=${urls.length} aria-hidden="true">
    ${urls.map((url, index) => html`<${Cell} key=${index} url=${url} />`)}
    ${all.length > CELLS && html`<span class="queue-more">+${all.length - CELLS}</span>`}
  </div>`;
}

function Cell({ url }) {
  const [broken, setBroken] = useState("");
  if (!url || url === broken) return html`<span class="queue-cell"></span>`;
  return html`<img class="queue-cell" src=${url} alt="" loading="lazy" decoding="async" onError=${() => setBroken(url)} />`;
}

/**
 * Return the addresses of what is known of the pictures; null for each one that is still to come.
 */
function shownUrls(job) {
  const made = new Map(job.images.map(({ index, id }) => [index, thumbUrl(id)]));
  const drafts = new Map((job.compositions ?? []).map((one) => [one.index, one.preview_url]));
  const urls = indicesOf(job).map((index) => made.get(index) ?? job.previews?.[index] ?? drafts.get(index) ?? null);
  const known = urls.filter(Boolean);
  return job.finished_at ? known : [...known, ...urls.filter((url) => !url)];
}

/** Return whether Create shows the job with its compositions. */
export const isChosenInCreate = (job) => job.state === "waiting" && job.client_state?.inbox === inbox();
