/** Work that a person has begun and waits for. */
import { useState } from "./html.js";
import { failed } from "./toast.js";

/**
 * Return whether such work goes on, and what begins some: if it fails, that is shown, with a button
 * that begins it again if it `isRepeatable`.
 */
export function useBusy() {
  const [isBusy, setBusy] = useState(false);
  const run = async (work, { isRepeatable = false } = {}) => {
    setBusy(true);
    try {
      await work();
    } catch (error) {
      failed(error, isRepeatable ? () => run(work, { isRepeatable }) : undefined);
    }
    setBusy(false);
  };
  return [isBusy, run];
}
