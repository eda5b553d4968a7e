/** Numbers, dates and durations in the person's language. */
import { language, t } from "./text.js";

export const formatNumber = (value, options) =>
  new Intl.NumberFormat(language.get(), options).format(value);

/** Such as "30 Nov 2026, 15:41". */
export const formatDateTime = (iso) =>
  new Intl.DateTimeFormat(language.get(), { dateStyle: "medium", timeStyle: "short" }).format(
    new Date(iso),
  );

export const formatDate = (iso, options = { dateStyle: "medium" }) =>
  new Intl.DateTimeFormat(language.get(), options).format(new Date(iso));

const STEPS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
];

/** Such as "5 minutes ago". */
export function formatAgo(iso) {
  const seconds = (Date.parse(iso) - Date.now()) / 1000;
  const relative = new Intl.RelativeTimeFormat(language.get(), { numeric: "auto" });
  const [unit, size] = STEPS.find(([, one]) => Math.abs(seconds) >= one) ?? ["second", 1];
  return unit === "second" ? relative.format(0, "second") : relative.format(Math.round(seconds / size), unit);
}

/** Such as "0.4 s", "12 s", "3 min". */
export function formatSeconds(seconds) {
  const isLong = seconds >= 90;
  const value = isLong ? seconds / 60 : seconds;
  return formatNumber(value, {
    style: "unit",
    unit: isLong ? "minute" : "second",
    maximumFractionDigits: value < 10 && !isLong ? 1 : 0,
  });
}

/** Such as "512 × 768". */
export const formatSize = (width, height) => t("frame.size", { width: String(width), height: String(height) });
