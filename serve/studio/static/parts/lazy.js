/** A component whose module is loaded when it is shown. */
import { html, useEffect, useState } from "../core/html.js";
import { failed } from "../core/toast.js";

/** Its other properties go to the component. */
export function Lazy({ load, ...rest }) {
  const [Loaded, setLoaded] = useState(null);
  useEffect(() => {
    load().then((module) => setLoaded(() => module.default), failed);
  }, []);
  return Loaded && html`<${Loaded} ...${rest} />`;
}
