/** The selection of a library, and what extends it. */
import { useEffect, useRef, useState } from "../../core/html.js";
import { failed } from "../../core/toast.js";
import { NOTHING, toggled, withPictures } from "./selection.js";

export function useSelection(pictures) {
  const [selection, setSelection] = useState(NOTHING);
  // Where a range begins, and what was selected before it.
  const anchor = useRef(null);
  const set = (next) => {
    anchor.current = null;
    setSelection(next);
  };
  useEffect(() => set(NOTHING), [pictures]);

  const toggle = (index) => {
    const id = pictures.at(index)?.id;
    if (!id) return;
    const next = toggled(selection, id);
    anchor.current = { id, base: next };
    setSelection(next);
  };
  const extend = async (from, to) => {
    const first = pictures.at(from)?.id;
    anchor.current ??= first ? { id: first, base: selection } : null;
    if (!anchor.current) return;
    const own = anchor.current;
    const begin = pictures.indexOf(own.id);
    const [low, high] = [Math.min(begin < 0 ? from : begin, to), Math.max(begin < 0 ? from : begin, to)];
    try {
      await pictures.load(low, high + 1);
    } catch (error) {
      failed(error);
    }
    if (anchor.current !== own) return; // the selection has changed meanwhile
    const indices = Array.from({ length: high - low + 1 }, (_, offset) => low + offset);
    const ids = indices.flatMap((index) => pictures.at(index)?.id ?? []);
    setSelection(withPictures(own.base, ids, true));
  };
  return { selection, set, toggle, extend };
}
