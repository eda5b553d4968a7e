/** How far a job is: its place in line, its stage, the time that is probably left. */
import { formatSeconds } from "../core/format.js";
import { html, useEffect } from "../core/html.js";
import { indicesOf } from "../core/job_events.js";
import { model, operation, stageTitle } from "../core/models.js";
import { useRender } from "../core/store.js";
import { t } from "../core/text.js";

export function Progress({ job }) {
  const left = useTimeLeft(job);
  return html`<div class="progress">
    ${job.state === "running" && html`<progress value=${fractionOf(job)} aria-label=${t("create.progress")}></progress>`}
    <p class="soft small">${[sentence(job), left].filter(Boolean).join(" · ")}</p>
  </div>`;
}

function sentence(job) {
  if (job.state === "queued") {
    if (job.position === null || job.position === undefined) return t("create.queued");
    return job.position === 0 ? t("create.queued.next") : t("create.queued.ahead", { count: job.position });
  }
  const { progress, stage } = job;
  if (!model.get().stages.some(({ name }) => name === stage)) return t("create.preparing");
  if (!progress) return stageTitle(stage);
  return t("create.step", { stage: stageTitle(stage), step: progress.step, steps: progress.steps });
}

/** Return the stages that a job passes before it rests; a job that stops runs the rest later. */
function stagesOf({ kind, request, continued }) {
  const route = operation(kind)?.stages ?? [];
  const stages = model.get().stages.filter(({ name }) => route.includes(name));
  const stop = stages.findIndex(({ name }) => name === request.stop_after) + 1;
  if (stop === 0) return stages;
  return continued ? stages.slice(stop) : stages.slice(0, stop);
}

/**
 * Return the part of a job that is done, 0 to 1: of each image the stages that it has passed, by
 * their shares. Of a job that was not followed before, only its last step is known.
 */
function fractionOf(job) {
  const { progress, stage, images = [], compositions = [], continued } = job;
  const last = progress && { [progress.index]: { stage, ...progress } };
  const steps = { ...last, ...job.steps };
  const stages = stagesOf(job);
  const whole = stages.reduce((sum, { share }) => sum + share, 0) || 1;
  const kept = continued ? [] : compositions.filter(({ index }) => !steps[index]);
  const made = new Set([...images, ...kept].map(({ index }) => index));
  const ofImage = (index) => {
    if (made.has(index)) return 1;
    const reached = steps[index];
    const at = stages.findIndex(({ name }) => name === reached?.stage);
    if (at < 0) return 0;
    const before = stages.slice(0, at).reduce((sum, { share }) => sum + share, 0);
    return (before + (stages[at].share * reached.step) / reached.steps) / whole;
  };
  const indices = indicesOf(job);
  return indices.reduce((sum, index) => sum + ofImage(index), 0) / indices.length;
}

/**
 * Return the time that is probably left as a sentence, each second anew; nothing if it is not
 * known.
 */
function useTimeLeft({ ready_at_ms: atMs, state }) {
  const render = useRender();
  useEffect(() => {
    if (!atMs) return undefined;
    const timer = setInterval(render, 1000);
    return () => clearInterval(timer);
  }, [atMs]);
  if (!atMs) return "";
  const seconds = Math.round((atMs - Date.now()) / 1000);
  if (seconds > 0) return t("create.left", { time: formatSeconds(seconds) });
  return state === "running" ? t("create.overdue") : "";
}
