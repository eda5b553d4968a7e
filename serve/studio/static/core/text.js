// @ts-check
/** Sentences in the person's language, from `locale/<language>/<file>.json`. */
import { keptStore } from "./store.js";

/** The languages of the page, by their own names. */
export const LANGUAGES = { en: "English", de: "Deutsch", fr: "Français" };

const ofBrowser = navigator.languages.map((code) => code.slice(0, 2).toLowerCase());

/** The language of the page, as in LANGUAGES; change it by `setLanguage`. */
export const language = keptStore("language", ofBrowser.find((code) => code in LANGUAGES) ?? "en");

/** @type {Map<string, Record<string, string>>} by file, in the current language */
const files = new Map();

/**
 * Load a file of sentences in the current language; a second call is free.
 * @param {string} name such as `library`
 */
export async function loadText(name) {
  if (!files.has(name)) files.set(name, await fetched(name, language.get()));
}

/**
 * Change the language; every file that was loaded is loaded in it first.
 * @param {string} code
 */
export async function setLanguage(code) {
  const names = [...files.keys()];
  const loaded = await Promise.all(names.map((name) => fetched(name, code)));
  names.forEach((name, index) => files.set(name, loaded[index]));
  document.documentElement.lang = code;
  language.set(code);
}

/**
 * Return a sentence: the key begins with the name of its file. With `count`, the sentence of
 * `<key>.one` or `<key>.other` is used.
 * @param {string} key such as `library.selected`
 * @param {Record<string, string | number>} [values] of the sentence's `{names}`
 * @returns {string} the key itself if there is no such sentence
 */
export function t(key, values = {}) {
  const found = find(key, values);
  if (found === undefined) return key;
  return found.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name] ?? whole;
    return typeof value === "number" ? value.toLocaleString(language.get()) : value;
  });
}

/**
 * Return whether there is a sentence.
 * @param {string} key
 */
export const hasText = (key) => find(key, {}) !== undefined;

function find(key, values) {
  const sentences = files.get(key.split(".", 1)[0]) ?? {};
  if (!("count" in values)) return sentences[key];
  const plural = new Intl.PluralRules(language.get()).select(values.count);
  return sentences[`${key}.${plural}`] ?? sentences[`${key}.other`] ?? sentences[key];
}

async function fetched(name, code) {
  const response = await fetch(new URL(`../locale/${code}/${name}.json`, import.meta.url));
  return response.ok ? response.json() : {};
}
