/** What an event of `GET /v1/events` changes in a job. */

/**
 * A job is what `GET /v1/jobs/{id}` shows. While it is followed it has also `previews`, the address
 * of each image's newest preview, and `steps`, each image's last `{stage, step, steps}`, both by
 * index; and `ready_at_ms`, when it is probably done.
 */

const ENDED = new Set(["succeeded", "failed", "cancelled"]);

export const hasEnded = (job) => ENDED.has(job.state);

export const isMoving = (job) => job.state === "queued" || job.state === "running";

/** Return the indices of the pictures that a job makes, or may make. */
export const indicesOf = ({ continued, request }) =>
  continued?.indices ?? Array.from({ length: request.n }, (_, index) => index);

/** Return a job after an event; an event that says what the job says already changes nothing. */
export function applied(job, type, data) {
  // An answer may be older than the job's last event.
  if (hasEnded(job) && !hasEnded(data.job ?? {})) return job;
  if (data.job) return asAnswered(job, data.job);
  if (type === "queued") {
    const { position, eta_s } = data;
    return withTime({ ...job, state: "queued", stage: null, position, eta_s });
  }
  if (type === "progress") return withProgress(job, data);
  if (type === "image") return withImage(job, data);
  if (type === "rejected") return { ...job, rejected: [...(job.rejected ?? []), data] };
  return job;
}

function asAnswered(known, answered) {
  // Events leave the client's state out.
  const { previews = {}, steps = {}, client_state } = known;
  const isNew = answered.state === "queued" || answered.state === "waiting";
  return withTime({ client_state, ...answered, previews, steps: isNew ? {} : steps });
}

function withTime(job) {
  return job.eta_s == null ? job : { ...job, ready_at_ms: Date.now() + job.eta_s * 1000 };
}

function withProgress(job, { stage, step, steps, index, preview_url: preview }) {
  const previews = job.previews ?? {};
  return {
    ...job,
    state: "running",
    stage,
    position: null,
    progress: { step, steps, index },
    steps: { ...job.steps, [index]: { stage, step, steps } },
    previews: preview ? { ...previews, [index]: preview } : previews,
  };
}

function withImage(job, data) {
  const others = (job.images ?? []).filter((image) => image.index !== data.index);
  const { width, height } = job.request;
  const image = { width, height, ...data };
  return { ...job, images: [...others, image].sort((a, b) => a.index - b.index) };
}
