// Small charts drawn by hand: scores of the last parts, yield by hour, latency against takt.

import { s } from "./dom.js";

const WIDTH = 300;
const HEIGHT = 64;

/** The scores of parts, oldest first, over the threshold as a dashed line. */
export function scoreChart(records, words) {
  const scored = records.filter((record) => record.anomaly_score !== null);
  const x = (index) => 6 + (index * (WIDTH - 12)) / Math.max(1, scored.length - 1);
  const y = (score) => 4 + (1 - score) * (HEIGHT - 8);
  const threshold = scored.at(-1)?.threshold ?? null;
  return s(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart", role: "img", "aria-label": words, preserveAspectRatio: "none" },
    [0, 0.5, 1].map((score) => s("line", { x1: 0, x2: WIDTH, y1: y(score), y2: y(score), class: "grid" })),
    threshold !== null && s("line", { x1: 0, x2: WIDTH, y1: y(threshold), y2: y(threshold), class: "threshold" }),
    scored.length > 1 &&
      s("polyline", { class: "score", points: scored.map((record, index) => `${x(index)},${y(record.anomaly_score)}`).join(" ") }),
    scored.map((record, index) => s("circle", { cx: x(index), cy: y(record.anomaly_score), r: 2.6, class: record.verdict })),
  );
}

/** The yield of each hour with parts as bars, the last at the right. */
export function yieldChart(hours, words) {
  const shownHours = hours.slice(-24);
  const step = WIDTH / 24;
  const first = 24 - shownHours.length;
  return s(
    "svg",
    { viewBox: `0 0 ${WIDTH} 40`, class: "chart", role: "img", "aria-label": words, preserveAspectRatio: "none" },
    s("line", { x1: 0, x2: WIDTH, y1: 39.5, y2: 39.5, class: "grid" }),
    shownHours.map((hour, index) => {
      const height = Math.max(1, 36 * hour.yield);
      const place = { x: (first + index) * step + 1.5, width: step - 3 };
      return [
        s("rect", { ...place, y: 3, height: 36, class: "rest" }),
        s("rect", { ...place, y: 39 - height, height, class: "yield" }),
      ];
    }),
  );
}

/** Half of the parts (p50) and all but a hundredth (p99) against the takt, in milliseconds. */
export function latencyChart({ p50, p99 }, takt, words) {
  const full = 1.15 * Math.max(takt ?? 0, p99 ?? 0, 1);
  const x = (ms) => (WIDTH * ms) / full;
  const isLate = takt !== null && p99 !== null && p99 > takt;
  return s(
    "svg",
    { viewBox: `0 0 ${WIDTH} 26`, class: "chart", role: "img", "aria-label": words, preserveAspectRatio: "none" },
    s("rect", { x: 0, y: 8, width: WIDTH, height: 10, rx: 3, class: "rest" }),
    p99 !== null && s("rect", { x: 0, y: 8, width: x(p99), height: 10, rx: 3, class: isLate ? "late" : "p99" }),
    p50 !== null && s("rect", { x: 0, y: 8, width: x(p50), height: 10, rx: 3, class: "p50" }),
    takt !== null && s("line", { x1: x(takt), x2: x(takt), y1: 1, y2: 25, class: "takt" }),
  );
}
