// @ts-check
/** A component whose module is loaded when it is shown. */
import { html, useEffect, useState } from "../core/html.js";
import { failed } from "../core/toast.js";

/**
 * @param {{load: () => Promise<{default: any}>, [name: string]: any}} props the others go to the
 *   component
 */
export function Lazy({ load, ...rest }) {
  const [Loaded, setLoaded] = useState(/** @type {any} */ (null));
  useEffect(() => {
    load().then((module) => setLoaded(() => module.default), failed);
  }, []);
  return Loaded && html`<${Loaded} ...${rest} />`;
}
