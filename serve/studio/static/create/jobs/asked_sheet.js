/**
 * The draft sheet that a link names, such as that of the queue: it is listed, shown and gets the
 * focus.
 */
import * as api from "../../core/api.js";
import { useEffect, useRef } from "../../core/html.js";
import { openJobs } from "../../core/live.js";
import { store, useStore } from "../../core/store.js";
import { history } from "./history.js";

/** The id of the job; empty: none is asked for. */
const asked = store("");

/** Show the sheet of a job, which may be older than those that are listed. */
export async function showSheet(id) {
  const job = openJobs.get().get(id) ?? (await api.get(`/v1/jobs/${id}`));
  history.update((now) => ({ ...now, jobs: new Map(now.jobs).set(id, job) }));
  asked.set(id);
}

/** Return the ref that the sheet of a job takes. */
export function useAskedSheet(id) {
  const sheet = useRef(null);
  const isAsked = useStore(asked) === id;
  useEffect(() => {
    if (!isAsked || !sheet.current) return;
    asked.set("");
    sheet.current.scrollIntoView({ block: "center" });
    sheet.current.querySelector("input")?.focus({ preventScroll: true });
  }, [isAsked]);
  return sheet;
}
