/** The jobs that the queue shows: those that go on, those that wait, those that ended lately. */
import * as api from "../core/api.js";
import { useCallback, useEffect, useState } from "../core/html.js";
import { hasEnded, isMoving } from "../core/job_events.js";
import { onJob, onResume, refresh } from "../core/live.js";
import { session } from "../core/session.js";
import { useRender } from "../core/store.js";

const RENDERED_EVERY_MS = 250;
const READ = 100;
const SHOWN_ENDED = 30;
const CANCELLED_AT_ONCE = 4;

/** Return whether the caller's key made a job. */
export const isMine = (job) => (job.key_id ?? null) === (session.get().me?.key?.id ?? null);

/** Running jobs first, then those in line by their places, then the others by age. */
export function inOrder(jobs) {
  const rank = (job) => (job.state === "running" ? -1 : (job.position ?? 0));
  return [...jobs].sort((a, b) => rank(a) - rank(b) || (a.id < b.id ? -1 : 1));
}

/**
 * Return a store's value; the component is rendered again a few times a second at most, as hundreds
 * of jobs may report their steps.
 */
export function useSampled(source) {
  const render = useRender();
  useEffect(() => {
    let timer = 0;
    const later = () => {
      timer ||= setTimeout(() => {
        timer = 0;
        render();
      }, RENDERED_EVERY_MS);
    };
    later();
    const end = source.subscribe(later);
    return () => {
      end();
      clearTimeout(timer);
    };
  }, [source]);
  return source.get();
}

/** Follow the jobs that ended lately, latest end first; null until they are read. */
export function useEnded(own) {
  const [ended, setEnded] = useState(null);
  const [error, setError] = useState(null);
  const load = useCallback(
    (signal) =>
      api.get("/v1/jobs", { query: { own, limit: READ }, signal }).then(
        ({ jobs }) => {
          setEnded(latest(jobs.filter(hasEnded)));
          setError(null);
        },
        (failure) => failure.name === "AbortError" || setError(failure),
      ),
    [own],
  );
  useEffect(() => {
    const asking = new AbortController();
    const reload = () => void load(asking.signal);
    const add = ({ job }) => {
      if (!hasEnded(job) || (own && !isMine(job))) return;
      setEnded((jobs) => latest([job, ...(jobs ?? []).filter(({ id }) => id !== job.id)]));
    };
    const ends = [onJob(add), onResume(reload), () => asking.abort()];
    reload();
    return () => ends.forEach((end) => end());
  }, [load]);
  return { ended, error, load: () => void load() };
}

const latest = (jobs) =>
  jobs.sort((a, b) => (a.finished_at < b.finished_at ? 1 : -1)).slice(0, SHOWN_ENDED);

/** Cancel jobs, a few at a time. Returns how many were, and the last error or null. */
export async function cancelJobs(ids) {
  const left = [...ids];
  let cancelled = 0;
  let error = null;
  const cancelNext = async () => {
    for (let id = left.shift(); id; id = left.shift()) {
      try {
        const job = await api.del(`/v1/jobs/${id}`);
        if (job.state === "cancelled") cancelled += 1;
        if (!isMoving(job)) refresh(job);
      } catch (failure) {
        error = failure;
      }
    }
  };
  await Promise.all(Array.from({ length: CANCELLED_AT_ONCE }, cancelNext));
  return { cancelled, error };
}
