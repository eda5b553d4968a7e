/** Values that components share and follow. */
import { useEffect, useState } from "./html.js";

export function store(initial) {
  let value = initial;
  const listeners = new Set();
  const set = (next) => {
    if (Object.is(next, value)) return;
    value = next;
    for (const listener of [...listeners]) listener(value);
  };
  return {
    get: () => value,
    set,
    update: (change) => set(change(value)),
    subscribe: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** Return a store's value; the component is rendered again when it changes. */
export function useStore(source) {
  const [, render] = useState(0);
  useEffect(() => {
    const again = () => render((count) => count + 1);
    const seen = source.get();
    const end = source.subscribe(again);
    if (!Object.is(seen, source.get())) again();
    return end;
  }, [source]);
  return source.get();
}

/** Make a store of a JSON value that this browser keeps between visits, in localStorage. */
export function keptStore(name, initial) {
  const key = `cascade.${name}`;
  const kept = store(read(key, initial));
  kept.subscribe((value) => {
    try {
      localStorage.setItem(key, JSON.stringify(value));
    } catch {
      // A browser that keeps nothing: the value lasts until the tab closes.
    }
  });
  return kept;
}

function read(key, initial) {
  try {
    const text = localStorage.getItem(key);
    return text === null ? initial : JSON.parse(text);
  } catch {
    return initial;
  }
}
