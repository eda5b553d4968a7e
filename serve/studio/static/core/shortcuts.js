/** Keys that act on the whole view; the frame lists them in a dialog that `?` opens. */
import { useEffect, useRef } from "./html.js";

const groups = new Set();

/**
 * Return the groups of keys that act now. The label is the name of a view's file of sentences: the
 * group's title is `t("<label>.keys")` and a key's meaning `t("<label>.keys.<key>")`.
 */
export const activeGroups = () => [...groups].map((one) => one.current);

/**
 * Let keys act while the component is shown. They are ignored in text fields and while a dialog is
 * open; Enter and space are left to a focused button or link. A handler gets the event, whose
 * default is prevented; it is named as `keyName` does.
 */
export function useShortcuts(keys, label) {
  const group = useRef({ label, keys });
  group.current = { label, keys };
  useEffect(() => {
    groups.add(group);
    return () => groups.delete(group);
  }, []);
}

/**
 * Return the name of a pressed key: its `key`, after `Ctrl+` (also for the command key) and, if it
 * is no character, `Shift+`.
 */
function keyName(event) {
  const shift = event.shiftKey && event.key.length > 1 ? "Shift+" : "";
  return `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${shift}${event.key}`;
}

/** Return whether a person types into the element. */
function isTextField(element) {
  if (!(element instanceof HTMLElement)) return false;
  if (element.isContentEditable || element.matches("textarea, select")) return true;
  return element.matches("input:not([type=checkbox], [type=radio], [type=button], [type=file])");
}

function leavesToElement(event) {
  const isPress = event.key === "Enter" || event.key === " ";
  return isPress && event.target instanceof Element && event.target.closest("button, a, summary");
}

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.altKey || event.isComposing) return;
  if (isTextField(event.target) || leavesToElement(event)) return;
  if (document.querySelector("dialog[open]")) return;
  const name = keyName(event);
  // The group that was shown last comes first: a view's keys before those of the frame.
  const found = activeGroups().reverse().find((group) => group.keys[name]);
  if (!found) return;
  event.preventDefault();
  found.keys[name](event);
});
