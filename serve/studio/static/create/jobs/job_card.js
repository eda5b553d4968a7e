/** A job: its pictures as they come, what it is, and what can be done with it. */
import * as api from "../../core/api.js";
import { useBusy } from "../../core/busy.js";
import { formatAgo, formatDateTime, formatSize } from "../../core/format.js";
import { html } from "../../core/html.js";
import { hasEnded, indicesOf, isMoving } from "../../core/job_events.js";
import { refresh } from "../../core/live.js";
import { may } from "../../core/session.js";
import { submit } from "../../core/submissions.js";
import { t } from "../../core/text.js";
import { errorSentence } from "../../core/toast.js";
import { Button } from "../../parts/button.js";
import { Icon } from "../../parts/icon.js";
import { Lazy } from "../../parts/lazy.js";
import { bodyOfJob } from "../actions.js";
import { kindTitle } from "../offers.js";
import { Cell } from "./picture_cell.js";
import { Progress } from "../progress.js";

/** `onUse` is called when the job's values were put into the box. */
export default function JobCard({ job, onUse }) {
  const { request } = job;
  const title = request.prompt || kindTitle(job.kind);
  return html`<article class="job ${job.state}" data-job=${job.id} aria-label=${title}>
    <div class="job-pictures">
      ${job.state === "waiting" ? html`<${Lazy} load=${() => import("./draft_sheet.js")} job=${job} />` : html`<${Pictures} job=${job} onUse=${onUse} />`}
    </div>
    <div class="job-text">
      <p class="job-prompt" title=${title}>${title}</p>
      <p class="soft small">
        ${kindTitle(job.kind)} · ${formatSize(request.width, request.height)} · <time datetime=${job.created_at}
          title=${formatDateTime(job.created_at)}>${formatAgo(job.created_at)}</time>
      </p>
      ${isMoving(job) && html`<${Progress} job=${job} />`}
      ${job.state === "cancelled" && html`<p class="soft small">${t("create.cancelled")}</p>`}
      ${job.error && html`<p class="job-error">${errorSentence(job.error)}</p>`}
      ${job.warnings?.map((text) => html`<p class="job-warning small" key=${text}><${Icon} name="info" size=${16} />${text}</p>`)}
      ${may("create") && html`<${Buttons} job=${job} onUse=${onUse} />`}
    </div>
  </article>`;
}

function Pictures({ job, onUse }) {
  const { request, images = [], continued } = job;
  const indices = indicesOf(job);
  // Of a job that ended early, only what it made is shown.
  const shown = hasEnded(job) ? indices.filter((index) => images.some((image) => image.index === index)) : indices;
  if (shown.length === 0) return null;
  const width = continued?.width ?? request.width;
  const height = continued?.height ?? request.height;
  return html`<ul class="cells" data-columns=${Math.min(shown.length, 4)}>
    ${shown.map((index) => html`<li key=${index}>
      <${Cell} job=${job} index=${index} width=${width} height=${height} onUse=${onUse} />
    </li>`)}
  </ul>`;
}

function Buttons({ job, onUse }) {
  const [isBusy, run] = useBusy();
  const cancelled = async () => refresh(await api.del(`/v1/jobs/${job.id}`));
  const cancel = () => run(cancelled, { isRepeatable: true });
  const take = async () => {
    const { reuse } = await import("../refill.js");
    reuse(job);
    onUse();
  };
  const again = () => void submit(bodyOfJob(job, { isNew: true }));
  const retry = () => void submit(bodyOfJob(job));
  return html`<div class="job-buttons">
    ${isMoving(job) && html`<${Button} class="small" icon="stop" busy=${isBusy} onClick=${cancel}>${t("frame.cancel")}<//>`}
    ${job.state === "failed" && html`<${Button} class="small" icon="redo" onClick=${retry}>${t("frame.retry")}<//>`}
    ${job.state === "succeeded" && html`<${Button} class="small" icon="redo" onClick=${again}>${t("create.again")}<//>`}
    ${job.state === "waiting" && html`<${Button} class="small" kind="quiet" busy=${isBusy} onClick=${cancel}>${t("create.discard")}<//>`}
    <${Button} class="small" kind="quiet" icon="settings" onClick=${take}>${t("create.reuse")}<//>
  </div>`;
}
