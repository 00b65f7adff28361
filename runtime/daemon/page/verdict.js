// The verdict: word, shape and colour say the same, for every kind of colour vision.

import { h, s } from "./dom.js";
import { named, number, t } from "./texts.js";

const SHAPES = {
  normal: "M14 52 L38 76 L86 24",
  anomaly: "M22 22 L78 78 M78 22 L22 78",
  uncertain: "M30 36 C30 8 72 10 70 38 C69 54 50 52 50 68 M50 84 L50 85",
  lost: "M50 12 L50 60 M50 82 L50 83",
};

/** The shape of a verdict: a tick, a cross, a question mark. */
export function shape(verdict) {
  return s("svg", { viewBox: "0 0 100 100", class: "shape", "aria-hidden": "true" }, s("path", { d: SHAPES[verdict] }));
}

/** A small mark of shape and word. */
export function badge(verdict) {
  return h("span", { class: `badge ${verdict}` }, shape(verdict), t(`verdict.${verdict}`));
}

/** Why, in one or two sentences. */
export function reason(record) {
  if (record.reason) return named("reason", record.reason);
  const labels = [...new Set(record.defects.map((defect) => defect.label))];
  if (labels.length) return t("found", { what: labels.map((name) => named("label", name)).join(", ") });
  if (record.verdict === "normal") return t("found.nothing");
  return record.verdict === "anomaly" ? t("found.unplaced") : t("found.unsure");
}

/** Score against the threshold in words. */
export function scoreWords(record) {
  if (record.anomaly_score === null) return "";
  const score = number(record.anomaly_score, 2);
  return record.threshold === null
    ? t("score", { score })
    : t("score.threshold", { score, threshold: number(record.threshold, 2) });
}
