/** The studio's jobs of the person: what `GET /v1/jobs` lists, kept true by events. */
import * as api from "../../core/api.js";
import { hasEnded } from "../../core/job_events.js";
import { onJob, onResume, openJobs } from "../../core/live.js";
import { session } from "../../core/session.js";
import { store } from "../../core/store.js";
import { accepted, inbox } from "../../core/submissions.js";
import { t } from "../../core/text.js";
import { announce } from "../../core/toast.js";

const PAGE = 20;

const NOTHING = { jobs: new Map(), cursor: null, isLoaded: false, error: null };

export const history = store(NOTHING);

// Another person may sign in next.
session.subscribe(({ state }) => state === "signed_out" && history.set(NOTHING));

/** Return the jobs, newest first: their ids begin with a time. */
export const newestFirst = ({ jobs }) => [...jobs.values()].sort((a, b) => (a.id < b.id ? 1 : -1));

/**
 * Follow the jobs until the returned function is called; those that were shown before are shown at
 * once.
 */
export function followHistory() {
  const ends = [onJob(take), onResume(() => void loadNewest())];
  void loadNewest();
  return () => ends.forEach((end) => end());
}

/** Load the newest jobs, also again after a gap in the events. */
export async function loadNewest() {
  const { isLoaded } = history.get();
  try {
    const cursor = await load();
    history.update((now) => ({ ...now, isLoaded: true, error: null, cursor: isLoaded ? now.cursor : cursor }));
  } catch (error) {
    history.update((now) => ({ ...now, error }));
  }
}

/** Load the jobs before those that are shown. */
export async function loadEarlier() {
  const cursor = await load(history.get().cursor);
  history.update((now) => ({ ...now, cursor }));
}

/** Load a page of jobs and return the cursor of the next one. */
async function load(cursor) {
  const page = await api.get("/v1/jobs", { query: { inbox: inbox(), limit: PAGE, cursor } });
  page.jobs.forEach(accepted);
  history.update((now) => {
    const listed = page.jobs.map((job) => [job.id, newer(job, now.jobs.get(job.id))]);
    return { ...now, jobs: new Map([...now.jobs, ...listed]) };
  });
  return page.next_cursor;
}

/** Return the newer of a listed job and what events say of it. */
function newer(listed, known) {
  const followed = openJobs.get().get(listed.id);
  if (hasEnded(listed)) return listed;
  return followed ?? (known && hasEnded(known) ? known : listed);
}

function take({ type, job }) {
  if (job.client_state?.inbox !== inbox()) return;
  history.update((now) => ({ ...now, jobs: new Map(now.jobs).set(job.id, job) }));
  if (type === "succeeded") announce(t("create.done", { count: job.images.length }));
  if (type === "waiting") announce(t("create.drafts_done", { count: job.compositions?.length ?? 0 }));
  if (type === "failed") announce(t("create.failed"));
}
