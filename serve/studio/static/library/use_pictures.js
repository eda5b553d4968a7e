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
function picturesOf(q) {
  if (latest?.q !== q) latest = new Pictures(q);
  return latest;
}

export function usePictures(q) {
  const pictures = picturesOf(q);
  const [failure, setFailure] = useState({ pictures, error: null });
  useStore(pictures.version);
  const refresh = () =>
    pictures.refresh().then(
      () => setFailure({ pictures, error: null }),
      (error) => setFailure({ pictures, error }),
    );
  useEffect(() => {
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
  // Of another search it says nothing about this one.
  const error = failure.pictures === pictures ? failure.error : null;
  return { pictures, error, refresh };
}
