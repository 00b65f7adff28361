// Words in the language of `?lang=` or of the browser.

export const LANGUAGES = { en: "English", de: "Deutsch", ko: "한국어" };

let texts = {};
export let language = "en";

/** Load the words. Call it once, before anything is shown. */
export async function loadTexts() {
  const asked = new URLSearchParams(location.search).get("lang");
  const wanted = [asked, ...navigator.languages].map((tag) => (tag || "").slice(0, 2).toLowerCase());
  language = wanted.find((tag) => tag in LANGUAGES) || "en";
  const answer = await fetch(`/page/texts/${language}.json`);
  texts = await answer.json();
  document.documentElement.lang = language;
}

/** The words of a key, with `{name}` replaced by `values.name`. */
export function t(key, values = {}) {
  const text = texts[key];
  if (text === undefined) return key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}

/** Words for a name of the daemon, or the name itself where this release knows none. */
export function named(prefix, name) {
  return `${prefix}.${name}` in texts ? texts[`${prefix}.${name}`] : name;
}

/** The page in another language. */
export function changeLanguage(tag) {
  const url = new URL(location.href);
  url.searchParams.set("lang", tag);
  location.assign(url);
}

/** A number with so many digits after the point; a dash for none. */
export function number(value, digits = 0) {
  if (value === null || value === undefined) return "–";
  return value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** A share as a percentage. */
export function percent(value) {
  return value === null || value === undefined ? "–" : `${number(100 * value, 1)} %`;
}

/** The time of a moment of the daemon, by the clock here. */
export function timeOfDay(iso) {
  return new Date(iso).toLocaleTimeString(language);
}

/** Date and time of a moment of the daemon, by the clock here. */
export function clock(iso) {
  return new Date(iso).toLocaleString(language, { dateStyle: "short", timeStyle: "medium" });
}
