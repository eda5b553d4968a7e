/** An answer of the API that is asked for again and again while the page is seen. */
import * as api from "../core/api.js";
import { useCallback, useEffect, useState } from "../core/html.js";
import { onResume } from "../core/live.js";

/**
 * Return the last `data`, null before the first answer, and the `error` why there is none newer.
 * Without `everyMs` it is asked for once, and after a gap in the connection.
 */
export function usePolled(path, everyMs = 0) {
  const [state, setState] = useState({ data: null, error: null });
  const load = useCallback(
    (signal) =>
      api.get(path, { signal }).then(
        (data) => setState({ data, error: null }),
        (error) => error.name === "AbortError" || setState(({ data }) => ({ data, error })),
      ),
    [path],
  );
  useEffect(() => {
    const asking = new AbortController();
    const ask = () => document.visibilityState === "visible" && void load(asking.signal);
    const timer = everyMs ? setInterval(ask, everyMs) : 0;
    const end = onResume(ask);
    ask();
    return () => {
      end();
      clearInterval(timer);
      asking.abort();
    };
  }, [load, everyMs]);
  return { ...state, load: () => load(new AbortController().signal) };
}
