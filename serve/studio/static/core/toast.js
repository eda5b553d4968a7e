/** Short messages at the edge of the page; the frame shows them in one polite live region. */
import { store } from "./store.js";
import { t, textOr } from "./text.js";

export const toasts = store([]);

/** What screen readers say next, for news that the page shows already, such as a finished job. */
export const announcement = store({ id: 0, text: "" });

export function announce(text) {
  announcement.update(({ id }) => ({ id: id + 1, text }));
}

const SHOWN_MS = 6000;
const SHOWN_WITH_ACTION_MS = 12000;
const MOST = 3;
let count = 0;

/**
 * Show a message, with a button that does `action` and is named `label`, such as "Undo". Returns
 * what takes it away.
 */
export function toast(text, { action, label, kind = "plain" } = {}) {
  const id = ++count;
  toasts.update((shown) => [...shown, { id, text, kind, action, label }].slice(-MOST));
  const end = () => dismiss(id);
  setTimeout(end, action ? SHOWN_WITH_ACTION_MS : SHOWN_MS);
  return end;
}

export function dismiss(id) {
  toasts.update((shown) => shown.filter((one) => one.id !== id));
}

/**
 * Show why something failed, with a button that tries again if there is such a function; aborted
 * requests and a lost sign-in show nothing.
 */
export function failed(error, retry) {
  if (error?.name === "AbortError" || error?.status === 401) return;
  toast(errorSentence(error), { kind: "error", action: retry, label: t("frame.retry") });
}

/**
 * Return the sentence of an ApiError, or of the `error` of a job: translated for the codes that a
 * person meets often, else the service's own.
 */
export function errorSentence(error) {
  const code = error?.code ?? "internal";
  const seconds = error?.retryAfterS ?? 0;
  if (code === "rate_limited" && seconds) return t("frame.error.rate_limited_for", { seconds });
  return textOr(`frame.error.${code}`, error?.message || t("frame.error.internal"));
}
