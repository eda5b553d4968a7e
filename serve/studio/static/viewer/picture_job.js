/** A picture with the job that made it. */
import * as api from "../core/api.js";
import { useEffect, useState } from "../core/html.js";
import { imageUrl } from "../parts/picture.js";

/** Return what was `found`, null while it loads. The job is looked up unless it is known. */
export function usePictureJob(id, jobId) {
  const [state, setState] = useState({ id: "", found: null, error: null });
  const [tries, setTries] = useState(0);
  useEffect(() => {
    const request = new AbortController();
    setState({ id, found: null, error: null });
    load(id, jobId, request.signal).then(
      (found) => setState({ id, found, error: null }),
      (error) => error.name !== "AbortError" && setState({ id, found: null, error }),
    );
    return () => request.abort();
  }, [id, tries]);
  // The answer for another picture is not shown for a moment after the id has changed.
  const { found, error } = state.id === id ? state : { found: null, error: null };
  return { found, error, retry: () => setTries(tries + 1) };
}

async function load(id, known, signal) {
  const job = await api.get(`/v1/jobs/${known ?? (await jobIdOf(id, signal))}`, { signal });
  const image = job.images.find((one) => one.id === id);
  if (!image) throw new api.ApiError({ code: "gone", message: "This picture was deleted.", status: 410 });
  return { job, image };
}

async function jobIdOf(id, signal) {
  const { headers } = await head(id, signal);
  return headers.get("x-job-id");
}

async function head(id, signal) {
  const response = await fetch(imageUrl(id), { method: "HEAD", signal }).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new api.ApiError({ code: "offline", message: "The service does not answer." });
  });
  // An answer to HEAD has no body: the reason is that of a route that fails alike.
  if (!response.ok) await api.get(`/v1/images/${id}/lineage`, { signal });
  if (!response.ok) {
    throw new api.ApiError({ code: "gone", message: "This picture was deleted.", status: response.status });
  }
  return response;
}
