/** Sentences of another view, such as the names of what Create makes. */
import { useEffect, useState } from "../core/html.js";
import { loadText } from "../core/text.js";

/** Load a file; its sentences are missing until then. */
export function useText(name) {
  const [, setLoaded] = useState(false);
  useEffect(() => void loadText(name).then(() => setLoaded(true), () => {}), []);
}
