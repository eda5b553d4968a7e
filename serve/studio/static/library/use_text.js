// @ts-check
/** Sentences of another view, such as the names of what Create makes. */
import { useEffect, useState } from "../core/html.js";
import { loadText } from "../core/text.js";

/** @param {string} name of the file; until it is loaded its sentences are missing */
export function useText(name) {
  const [, setLoaded] = useState(false);
  useEffect(() => void loadText(name).then(() => setLoaded(true), () => {}), []);
}
