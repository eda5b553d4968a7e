/** What is selected in the queue, and how it is cancelled. */
import { useEffect, useRef, useState } from "../core/html.js";
import { isMoving } from "../core/job_events.js";
import { may } from "../core/session.js";
import { useShortcuts } from "../core/shortcuts.js";
import { t } from "../core/text.js";
import { failed, toast } from "../core/toast.js";
import { cancelJobs, isMine } from "./lists.js";

/** In which a row goes after its job was cancelled. */
const FOCUS_KEPT_MS = 2000;

/**
 * Return what is selected of the shown jobs and what cancels: one job at once, several after a
 * question.
 */
export function useCancelling(jobs) {
  const [chosen, setChosen] = useState(new Set());
  const [asked, setAsked] = useState([]);
  const [isBusy, setBusy] = useState(false);
  const keepFocus = useKeptFocus();
  const ids = jobs.map(({ id }) => id);
  const selected = new Set(ids.filter((id) => chosen.has(id)));
  const clear = () => setChosen(new Set());

  const cancel = async (some) => {
    setBusy(true);
    keepFocus();
    const { cancelled, error } = await cancelJobs(some);
    setBusy(false);
    setAsked([]);
    clear();
    if (error) failed(error);
    else toast(t("queue.cancelled", { count: cancelled }));
  };
  const ask = (some) => (some.length > 1 ? setAsked(some) : void cancel(some));
  const select = (id, isSelected) =>
    setChosen((before) => new Set([...before, id].filter((one) => isSelected || one !== id)));
  const selectAll = () => setChosen(new Set(ids));
  useQueueKeys({ ids, selected, selectAll, ask, clear });
  return {
    selected,
    mine: jobs.filter((job) => isMoving(job) && isMine(job)).map(({ id }) => id),
    asked,
    isBusy,
    select,
    clear,
    ask,
    confirm: () => cancel(asked),
    giveUp: () => setAsked([]),
  };
}

function useQueueKeys({ ids, selected, selectAll, ask, clear }) {
  const move = (by) => {
    const boxes = [...document.querySelectorAll(".queue-check input")];
    const at = boxes.indexOf(document.activeElement);
    focus(boxes[Math.max(0, Math.min(boxes.length - 1, at + by))]);
  };
  const cancel = () => {
    const focused = focusedRow()?.getAttribute("data-job");
    const some = selected.size ? [...selected] : ids.filter((id) => id === focused);
    if (some.length) ask(some);
  };
  const keys = {
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
    Delete: cancel,
    "Ctrl+a": selectAll,
    Escape: clear,
  };
  useShortcuts(may("create") && ids.length ? keys : {}, "queue");
}

/** Return what is called before rows go: the focus stays in the list, at the row that follows. */
function useKeptFocus() {
  const place = useRef(-1);
  useEffect(() => {
    if (place.current < 0 || document.activeElement !== document.body) return;
    const boxes = document.querySelectorAll(".queue-check input");
    focus(boxes[Math.min(place.current, boxes.length - 1)] ?? document.querySelector("h1"));
  });
  return () => {
    const rows = [...document.querySelectorAll(".queue-check")];
    place.current = Math.max(0, rows.findIndex((one) => focusedRow()?.contains(one)));
    setTimeout(() => (place.current = -1), FOCUS_KEPT_MS);
  };
}

const focusedRow = () => document.activeElement?.closest("[data-job]");

const focus = (element) => element instanceof HTMLElement && element.focus();
