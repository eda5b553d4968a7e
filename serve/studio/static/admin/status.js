/** The state of the service: its parts, its stages, how jobs ended. */
import { formatAgo, formatDateTime, formatNumber } from "../core/format.js";
import { html } from "../core/html.js";
import { stageTitle } from "../core/models.js";
import { Link, paths } from "../core/router.js";
import { t } from "../core/text.js";
import { Failure } from "../parts/empty.js";
import { Icon } from "../parts/icon.js";
import { Skeleton } from "../parts/skeleton.js";
import { usePolled } from "./polled.js";

const EVERY_MS = 5000;
const FAILED_EVERY_MS = 15000;
const READY = "ready";

export function Status() {
  const { data, error, load } = usePolled("/v1/status", EVERY_MS);
  if (!data) return error ? html`<${Failure} error=${error} onRetry=${load} />` : html`<${Loading} />`;
  return html`<section class="admin-section" aria-label=${t("admin.state")}>
    <${Health} checks=${data.checks ?? {}} />
    <${Counts} status=${data} />
    <h2>${t("admin.stages")}</h2>
    <ul class="admin-stages">${data.stages.map((stage) => html`<${Stage} key=${stage.name} stage=${stage} />`)}</ul>
    <${Errors} errors=${data.errors} />
  </section>`;
}

function Loading() {
  return html`<div class="admin-section" aria-busy="true">
    <${Skeleton} height="56px" /><${Skeleton} height="88px" /><${Skeleton} height="132px" />
  </div>`;
}

/** Whether a job would run now, and what is missing. */
function Health({ checks }) {
  const missing = Object.entries(checks).filter(([, state]) => state !== READY);
  const isReady = missing.length === 0;
  const names = Object.keys(checks).map(partName);
  return html`<div class="admin-health ${isReady ? "good" : "bad"}">
    <${Icon} name=${isReady ? "check" : "warning"} size=${22} />
    <div>
      <p class="admin-strong">${t(isReady ? "admin.ready" : "admin.not_ready")}</p>
      ${isReady
        ? html`<p class="soft small">${names.join(" · ")}</p>`
        : missing.map(([name, reason]) => html`<p class="small" key=${name}><strong>${partName(name)}</strong>: ${reason}</p>`)}
    </div>
  </div>`;
}

const PARTS = { database: "admin.part.database", blobs: "admin.part.blobs", jobs: "admin.part.jobs" };

const partName = (name) => (name in PARTS ? t(PARTS[name]) : name);

function Counts({ status }) {
  const { succeeded, failed, cancelled } = status.last_hour;
  const counts = [
    ["admin.count.running", status.running],
    ["admin.count.queued", status.queued],
    ["admin.count.succeeded", succeeded],
    ["admin.count.failed", failed],
    ["admin.count.cancelled", cancelled],
  ];
  return html`<dl class="admin-counts">
    ${counts.map(([key, count]) => html`<div key=${key} class=${key === "admin.count.failed" && count ? "bad" : ""}>
      <dt>${t(key)}</dt><dd>${formatNumber(count)}</dd>
    </div>`)}
  </dl>`;
}

function Stage({ stage }) {
  const seconds = stage.seconds_per_image;
  return html`<li class="admin-card">
    <h3>${stageTitle(stage.name)}</h3>
    <p class="admin-big">
      ${seconds === null ? "–" : formatNumber(seconds, { maximumFractionDigits: seconds < 10 ? 2 : 1 })}
      <span class="soft small">${t("admin.seconds_per_image")}</span>
    </p>
    <p class="small">${replicasText(stage)}</p>
    <p class="small soft">${t("admin.stage.jobs", { count: stage.jobs })} · ${t("admin.stage.images", { count: stage.images })}</p>
  </li>`;
}

function replicasText({ replicas, starting }) {
  if (replicas === null) return t("admin.replicas.unknown");
  const running = replicas ? t("admin.replicas", { count: replicas }) : "";
  const coming = starting ? t("admin.replicas.starting", { count: starting }) : "";
  return [running, coming].filter(Boolean).join(" · ") || t("admin.replicas.none");
}

/** How many jobs failed, by code, and the latest of them. */
function Errors({ errors }) {
  const { data } = usePolled("/v1/jobs?state=failed&limit=5", FAILED_EVERY_MS);
  const counts = Object.entries(errors).sort(([, one], [, other]) => other - one);
  const latest = data?.jobs ?? [];
  if (!counts.length && !latest.length) return null;
  return html`<h2>${t("admin.errors")}</h2>
    <div class="admin-card">
      <p class="admin-codes">
        ${counts.map(([code, count]) => html`<span class="admin-chip bad" key=${code}><code>${code}</code> ${formatNumber(count)}</span>`)}
        ${!counts.length && html`<span class="soft">${t("admin.errors.none")}</span>`}
      </p>
      <ul class="admin-failures">
        ${latest.map((job) => html`<li key=${job.id}>
          <time class="soft small" datetime=${job.finished_at} title=${formatDateTime(job.finished_at)}>${formatAgo(job.finished_at)}</time>
          <code>${job.error?.code}</code>
          <span class="small">${job.error?.message}</span>
        </li>`)}
      </ul>
      <${Link} class="small" href="${paths.queue()}?all=1">${t("admin.all_jobs")}<//>
    </div>`;
}
