// Camera, model, outputs and disk as a list of lights: what works, what does not, what nobody knows.

import { h } from "./dom.js";
import { t } from "./texts.js";

/** [{name, isOk, words}] of what `/healthz` tells under `inputs` or `outputs`. */
export function readParts(told) {
  if (!told) return [];
  const items = Array.isArray(told) ? told.map((item) => [item.name, item]) : Object.entries(told);
  return items.map(([name, item]) => {
    const problem = typeof item === "object" && item !== null ? item.problem ?? item.error ?? null : null;
    const waiting = item?.waiting;
    return { name: item?.kind ? `${name} (${item.kind})` : name, isOk: isOk(item, problem), words: problem ?? (waiting ? t("waiting", { count: waiting }) : "") };
  });
}

function isOk(item, problem) {
  if (problem) return false;
  for (const key of ["ok", "connected", "alive", "is_connected", "is_open"]) {
    if (typeof item?.[key] === "boolean") return item[key];
  }
  return true;
}

/** All of them, the model first. */
export function allParts(state) {
  const isModelOk = state.state === "ready";
  const stopping = state.alarms.some((alarm) => alarm.name === "disk");
  return [
    { name: t("model"), isOk: isModelOk, words: [state.engine, state.bundle].filter(Boolean).join(" · ") },
    ...group("camera", readParts(state.inputs)),
    ...group("outputs", readParts(state.outputs)),
    { name: t("disk"), isOk: !stopping, words: "" },
  ];
}

function group(key, parts) {
  if (!parts.length) return [{ name: t(key), isOk: null, words: t("none.configured") }];
  return parts.map((part) => ({ ...part, name: `${t(key)}: ${part.name}` }));
}

/** The list as elements. */
export function lights(parts) {
  return h(
    "ul",
    { class: "lights" },
    parts.map(({ name, isOk: works, words }) =>
      h(
        "li",
        { class: works === null ? "unknown" : works ? "works" : "broken" },
        h("span", { class: "light", "aria-hidden": "true" }, works === null ? "–" : works ? "✓" : "!"),
        h("span", { class: "what" }, name, h("span", { class: "only-read" }, `: ${t(works === null ? "state.none" : works ? "state.works" : "state.broken")}`)),
        h("small", { title: words }, words),
      ),
    ),
  );
}

/** The alarms as a list, or null without one. */
export function alarmList(alarms) {
  if (!alarms.length) return null;
  return h(
    "ul",
    { class: "alarms", role: "alert" },
    alarms.map((alarm) =>
      h("li", { class: alarm.stops_line ? "stops" : "" }, h("b", {}, `⚠ ${alarm.stops_line ? t("alarm.stops") : t("alarm")}`), ` ${alarm.name}: ${alarm.message}`),
    ),
  );
}
