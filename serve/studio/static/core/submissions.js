/**
 * New jobs on their way to the service. Each one has an Idempotency-Key from its first sending on,
 * so that sending it again, after a lost answer or a reload of the page, makes no second job.
 */
import * as api from "./api.js";
import { connection, onJob, track } from "./live.js";
import { session } from "./session.js";
import { keptStore } from "./store.js";

const PAUSE_S = 3;

/** Oldest first. Those that are `waiting` are sent again by themselves. */
export const submissions = keptStore("submissions", [], "sessionStorage");
// The answer to what was being sent is lost.
submissions.update((all) => all.map((one) => (one.state === "sending" ? { ...one, state: "waiting" } : one)));

/** Return the inbox in which the jobs of the studio are found again, by the caller's key. */
export const inbox = () => `studio:${session.get().me?.key?.id ?? "local"}`;

/**
 * Send a new job; it is in `submissions` until it is accepted. Returns the job; null if it was not
 * accepted by the first sending.
 */
export function submit(body) {
  const key = api.newIdempotencyKey();
  const client_state = { ...body.client_state, inbox: inbox(), submission: key };
  const one = { key, body: { ...body, client_state }, state: "sending" };
  submissions.update((all) => [...all, one]);
  return send(one);
}

export const discard = (one) =>
  submissions.update((all) => all.filter(({ key }) => key !== one.key));

/** Send what waits; the frame does it when the page begins. */
export function resendWaiting() {
  for (const one of ownSubmissions()) if (one.state === "waiting") void send(one);
}

connection.subscribe((state) => state === "live" && resendWaiting());

// An event may be faster than the answer, and comes also if the answer is lost.
onJob(({ job }) => accepted(job));

/** Forget the submission that a job was made of. */
export function accepted(job) {
  const key = job.client_state?.submission;
  if (submissions.get().some((one) => one.key === key)) discard({ key });
}

/** Return those of the person who is signed in: another one may have used this tab before. */
export const ownSubmissions = () =>
  submissions.get().filter(({ body }) => body.client_state.inbox === inbox());

/** Send a submission, also once more. */
export async function send(one) {
  change(one, { state: "sending", error: undefined });
  try {
    const job = await api.post("/v1/jobs", one.body, { idempotencyKey: one.key });
    discard(one);
    return track(job);
  } catch (error) {
    const isPassing = [0, 401, 502, 503, 504].includes(error.status);
    const { code, message, param, retryAfterS } = error;
    change(one, isPassing ? { state: "waiting" } : { state: "refused", error: { code, message, param } });
    if (isPassing && error.status !== 401) {
      setTimeout(() => again(one.key), (retryAfterS ?? PAUSE_S) * 1000);
    }
    return null;
  }
}

function again(key) {
  const one = ownSubmissions().find((other) => other.key === key);
  if (one?.state === "waiting") void send(one);
}

function change(one, changes) {
  submissions.update((all) => all.map((other) => (other.key === one.key ? { ...other, ...changes } : other)));
}
