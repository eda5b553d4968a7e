/**
 * The connection to `GET /v1/events` of one tab, which is made anew for as long as it is wanted.
 */
import * as api from "./api.js";

const TYPES = [
  "job",
  "live",
  "queued",
  "progress",
  "rejected",
  "image",
  "waiting",
  "succeeded",
  "failed",
  "cancelled",
];
const WAITS_S = [1, 2, 4, 8, 15];

/**
 * Follow the events until the returned function is called. `onEvent` gets `open` each time that the
 * stream is connected, then the stream's own; `onLoss` gets `reconnecting` or `offline`.
 */
export function follow({ onEvent, onLoss }) {
  let source = null;
  let timer = 0;
  let tries = 0;
  let isWanted = true;

  const open = () => {
    source = new EventSource("/v1/events");
    for (const type of TYPES) {
      source.addEventListener(type, (event) => {
        tries = 0;
        onEvent(type, JSON.parse(event.data));
      });
    }
    source.addEventListener("open", () => onEvent("open", {}));
    source.addEventListener("error", () => void lost());
  };

  // A browser connects again by itself, but not after an answer that is an error.
  const lost = async () => {
    onLoss("reconnecting");
    const isClosed = source?.readyState === EventSource.CLOSED;
    const isThere = await answers();
    if (!isWanted) return;
    if (!isThere) onLoss("offline");
    if (!isClosed) return;
    clearTimeout(timer);
    timer = setTimeout(open, WAITS_S[Math.min(tries++, WAITS_S.length - 1)] * 1000);
  };

  open();
  return () => {
    isWanted = false;
    clearTimeout(timer);
    source?.close();
  };
}

/** Return whether the service answers; a 401 signs the page out by itself. */
async function answers() {
  try {
    await api.get("/v1/me");
    return true;
  } catch (error) {
    return error.code !== "offline";
  }
}
