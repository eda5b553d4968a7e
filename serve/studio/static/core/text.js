/** Sentences in the person's language, from `locale/<language>/<file>.json`. */
import { keptStore } from "./store.js";

/** The languages of the page, by their own names. */
export const LANGUAGES = { en: "English", de: "Deutsch", fr: "Français" };

const ofBrowser = navigator.languages.map((code) => code.slice(0, 2).toLowerCase());

/** The language of the page, as in LANGUAGES; change it by `setLanguage`. */
export const language = keptStore("language", ofBrowser.find((code) => code in LANGUAGES) ?? "en");
// Another version of the page may have had more of them.
if (!(language.get() in LANGUAGES)) language.set("en");

/** By file, in the current language. */
const files = new Map();

/** Load a file of sentences in the current language; a second call is free. */
export async function loadText(name) {
  if (!files.has(name)) files.set(name, await fetched(name, language.get()));
}

/** Change the language; every file that was loaded is loaded in it first. */
export async function setLanguage(code) {
  const names = [...files.keys()];
  const loaded = await Promise.all(names.map((name) => fetched(name, code)));
  names.forEach((name, index) => files.set(name, loaded[index]));
  document.documentElement.lang = code;
  language.set(code);
}

/**
 * Return the sentence of a key, which begins with the name of its file, with its `{names}` filled
 * in; the key itself if there is none. With `count`, that of `<key>.one` or `<key>.other` is used.
 */
export function t(key, values = {}) {
  const found = find(key, values);
  if (found === undefined) return key;
  return found.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name] ?? whole;
    return typeof value === "number" ? value.toLocaleString(language.get()) : value;
  });
}

/** Return the sentence of a key, or what stands in for one that is missing. */
export const textOr = (key, other, values) => (hasText(key) ? t(key, values) : other);

/** Return whether there is a sentence. */
export const hasText = (key) => find(key, {}) !== undefined;

function find(key, values) {
  const sentences = files.get(key.split(".", 1)[0]) ?? {};
  if (!("count" in values)) return sentences[key];
  const plural = new Intl.PluralRules(language.get()).select(values.count);
  return sentences[`${key}.${plural}`] ?? sentences[`${key}.other`] ?? sentences[key];
}

async function fetched(name, code) {
  const response = await fetch(new URL(`../locale/${code}/${name}.json`, import.meta.url));
  if (!response.ok) throw new Error(`${name} is missing in ${code}`);
  return response.json();
}
