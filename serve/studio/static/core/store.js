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
  const render = useRender();
  useEffect(() => {
    const seen = source.get();
    const end = source.subscribe(render);
    if (!Object.is(seen, source.get())) render();
    return end;
  }, [source]);
  return source.get();
}

/** Return what renders the component again. */
export function useRender() {
  const [, setCount] = useState(0);
  return () => setCount((count) => count + 1);
}

/**
 * Make a store of a JSON value that this browser keeps between visits, or in `sessionStorage` while
 * the tab is open.
 */
export function keptStore(name, initial, storage = "localStorage") {
  const key = `cascade.${name}`;
  const kept = store(read(storage, key) ?? initial);
  kept.subscribe((value) => {
    try {
      globalThis[storage].setItem(key, JSON.stringify(value));
    } catch {
      // A browser that keeps nothing: the value lasts until the tab closes.
    }
  });
  return kept;
}

function read(storage, key) {
  try {
    return JSON.parse(globalThis[storage].getItem(key));
  } catch {
    return null;
  }
}
