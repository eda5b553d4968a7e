/** The pictures of a search, followed as they are made. */
import { useEffect, useState } from "../core/html.js";
import { onJob, onResume } from "../core/live.js";
import { session } from "../core/session.js";
import { useStore } from "../core/store.js";
import { Pictures } from "./pictures.js";

const REFRESHED_EVERY_MS = 1000;

let latest = null;

session.subscribe(({ state }) => {
  if (state === "signed_out") latest = null;
});

/** Return the pictures of a search; those of the latest one are kept. */
export function picturesOf(q) {
  if (latest?.q !== q) latest = new Pictures(q);
  return latest;
}

export function usePictures(q) {
  const pictures = picturesOf(q);
  const [error, setError] = useState(null);
  useStore(pictures.version);
  const refresh = () =>
    pictures.refresh().then(
      () => setError(null),
      (reason) => setError(reason),
    );
  useEffect(() => {
    setError(null);
    refresh();
    let timer = 0;
    const soon = () => {
      timer ||= setTimeout(() => {
        timer = 0;
        refresh();
      }, REFRESHED_EVERY_MS);
    };
    const ends = [onResume(soon), onJob(({ type }) => (type === "image" || type === "succeeded") && soon())];
    return () => {
      clearTimeout(timer);
      ends.forEach((end) => end());
    };
  }, [pictures]);
  return { pictures, error, refresh };
}
