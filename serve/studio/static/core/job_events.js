// @ts-check
/** What an event of `GET /v1/events` changes in a job. */

/**
 * @typedef {Record<string, any>} Job as `GET /v1/jobs/{id}` shows it; while it is followed also
 *   `previews`, the address of each image's newest preview by index
 *
 * @typedef {object} JobEvent
 * @property {string} type `job`, `queued`, `progress`, `rejected`, `image`, `waiting`,
 *   `succeeded`, `failed`, `cancelled` or `deleted`
 * @property {string} jobId
 * @property {Job} job as it stands after the event
 * @property {Record<string, any>} data of the event
 */

const ENDED = new Set(["succeeded", "failed", "cancelled"]);

/** @param {Job} job */
export const hasEnded = (job) => ENDED.has(job.state);

/** @param {Job} job */
export const isMoving = (job) => job.state === "queued" || job.state === "running";

/**
 * Return a job after an event; an event that says what the job says already changes nothing.
 * @param {Job} job
 * @param {string} type
 * @param {Record<string, any>} data
 * @returns {Job}
 */
export function applied(job, type, data) {
  const previews = job.previews ?? {};
  if (data.job) return { ...data.job, previews };
  if (hasEnded(job)) return job;
  if (type === "queued") {
    return { ...job, state: "queued", stage: null, position: data.position, eta_s: data.eta_s };
  }
  if (type === "progress") return withProgress(job, previews, data);
  if (type === "image") return withImage(job, data);
  if (type === "rejected") return { ...job, rejected: [...(job.rejected ?? []), data] };
  return job;
}

function withProgress(job, previews, { stage, step, steps, index, preview_url: preview }) {
  return {
    ...job,
    state: "running",
    stage,
    position: null,
    progress: { step, steps, index },
    previews: preview ? { ...previews, [index]: preview } : previews,
  };
}

function withImage(job, data) {
  const others = (job.images ?? []).filter((image) => image.index !== data.index);
  const { width, height } = job.request;
  const image = { width, height, ...data };
  return { ...job, images: [...others, image].sort((a, b) => a.index - b.index) };
}
