/** The place in line and the time left of jobs; events tell them only at the begin. */
import * as api from "../core/api.js";
import { useEffect, useState } from "../core/html.js";
import { isMoving } from "../core/job_events.js";

const ASKED_EVERY_MS = 5000;
const READ = 100;

/** Return what is to be shown of jobs in place of what they say themselves, by their ids. */
export function usePlaces(jobs, own) {
  const [places, setPlaces] = useState(new Map());
  const isAnyMoving = jobs.some(isMoving);
  useEffect(() => {
    if (!isAnyMoving) return undefined;
    const asking = new AbortController();
    let timer = 0;
    const ask = async () => {
      if (document.visibilityState === "visible") {
        // Without an answer the last one stays; the frame says that the service is away.
        await askedPlaces(own, asking.signal).then(setPlaces, () => {});
      }
      if (!asking.signal.aborted) timer = setTimeout(ask, ASKED_EVERY_MS);
    };
    void ask();
    return () => {
      asking.abort();
      clearTimeout(timer);
    };
  }, [own, isAnyMoving]);
  return places;
}

async function askedPlaces(own, signal) {
  const ask = (state) => api.get("/v1/jobs", { query: { state, own, limit: READ }, signal });
  const answers = await Promise.all(["queued", "running"].map(ask));
  return new Map(answers.flatMap(({ jobs }) => jobs).map((job) => [job.id, placeOf(job)]));
}

function placeOf({ position, eta_s: etaS }) {
  // 0: it takes longer than the service has thought.
  return { position, ready_at_ms: etaS ? Date.now() + etaS * 1000 : null };
}
