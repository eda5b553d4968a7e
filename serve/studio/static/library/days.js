/** Days of the library, which are days in UTC, in the person's language. */
import { language } from "../core/text.js";

/** To make one takes longer than to draw a row. */
const formatters = new Map();

function formatter(options) {
  const key = `${language.get()} ${JSON.stringify(options)}`;
  const made = formatters.get(key) ?? new Intl.DateTimeFormat(language.get(), { ...options, timeZone: "UTC" });
  formatters.set(key, made);
  return made;
}

/** Such as "30 November 2026" or "24 – 30 November 2026". */
export function dayRange({ first, last }) {
  return formatter({ dateStyle: "long" }).formatRange(new Date(first), new Date(last));
}

/**
 * Return labels of a track on which sections stand below each other, none close to another one: the
 * year where it changes, else the month.
 */
export function trackLabels({ blocks, heightPx }, trackPx, apartPx) {
  const labels = [];
  let [end, month, year] = [-apartPx, "", ""];
  for (const { section, top } of blocks) {
    const place = (top / heightPx) * trackPx;
    const own = section.last.slice(0, 7);
    if (own === month || place - end < apartPx || place > trackPx - 16) continue;
    const isNewYear = own.slice(0, 4) !== year;
    const format = formatter(isNewYear ? { year: "numeric" } : { month: "short" });
    labels.push({ top: place, text: format.format(new Date(section.last)) });
    [end, month, year] = [place, own, own.slice(0, 4)];
  }
  return labels;
}
