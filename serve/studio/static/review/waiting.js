/** The pictures that wait for a decision, oldest first, as others submit and decide on them. */
import * as api from "../core/api.js";
import { useEffect, useState } from "../core/html.js";
import { onResume } from "../core/live.js";
import { submitted } from "../asset/submitted.js";

const READ = 200;
const READ_EVERY_MS = 10_000;

/** `assets` is null until they are read; `count` is of all, also those that are not read. */
export function useWaiting() {
  const [known, setKnown] = useState({ assets: null, count: 0, error: null });
  const load = async () => {
    try {
      const { assets, counts } = await api.get("/v1/assets", { query: { state: "submitted", limit: READ } });
      setKnown({ assets, count: counts.submitted, error: null });
      submitted.set(counts.submitted);
    } catch (error) {
      setKnown((before) => ({ ...before, error }));
    }
  };
  useEffect(() => {
    void load();
    const look = () => document.visibilityState === "visible" && void load();
    const timer = setInterval(look, READ_EVERY_MS);
    document.addEventListener("visibilitychange", look);
    const end = onResume(() => void load());
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", look);
      end();
    };
  }, []);
  /** Take a picture out of the line before it is read again. */
  const without = (id) =>
    setKnown((before) => ({ ...before, assets: before.assets.filter((one) => one.id !== id) }));
  return { ...known, load, without };
}
