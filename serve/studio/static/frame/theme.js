/** Light or dark, as the system has it or as the person chose. */
import { keptStore } from "../core/store.js";

export const theme = keptStore("theme", "system");

/** Show the page in the chosen theme, also after changes. */
export function followTheme() {
  const show = (name) => {
    if (name === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
  };
  theme.subscribe(show);
  show(theme.get());
}
