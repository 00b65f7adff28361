// Golden beside part, with boxes and heat map over the part, each at its place.

import { h, s, setText } from "./dom.js";
import { named, t } from "./texts.js";

const shown = { boxes: true, heat: false };
const pairs = new Set();

/** Show or hide the boxes or the heat map in all pairs; returns whether they are shown now. */
export function toggle(layer) {
  shown[layer] = !shown[layer];
  for (const pair of pairs) pair.layers();
  return shown[layer];
}

export class Pair {
  constructor() {
    this.golden = h("div", { class: "picture" });
    this.part = h("div", { class: "picture" });
    this.marks = s("svg", { class: "marks", preserveAspectRatio: "xMidYMid meet", "aria-hidden": "true" });
    this.number = h("span", { class: "of" });
    this.buttons = Object.fromEntries(
      ["boxes", "heat"].map((layer) => [
        layer,
        h("button", { type: "button", class: "layer", on: { click: () => toggle(layer) } }, t(`layer.${layer}`)),
      ]),
    );
    this.element = h(
      "div",
      { class: "pair" },
      h("figure", {}, h("figcaption", {}, h("b", {}, t("golden"))), this.golden),
      h(
        "figure",
        {},
        h("figcaption", {}, h("b", {}, t("part")), this.number, h("span", { class: "layers" }, Object.values(this.buttons))),
        this.part,
      ),
    );
    this.loading = false;
    pairs.add(this);
    this.layers();
  }

  close() {
    pairs.delete(this);
  }

  layers() {
    for (const [layer, button] of Object.entries(this.buttons)) {
      button.setAttribute("aria-pressed", shown[layer]);
      this.element.classList.toggle(`with-${layer}`, shown[layer]);
    }
    if (this.record) this.drawMarks();
  }

  /** Show a record. While a picture loads, only the newest of those that wait is kept. */
  show(record) {
    this.wanted = record;
    if (this.record?.id === record.id) {
      this.record = record;
      return;
    }
    this.element.classList.toggle("behind", this.record !== undefined);
    if (!this.loading) this.load();
  }

  async load() {
    this.loading = true;
    while (this.wanted && this.wanted.id !== this.record?.id) {
      const record = this.wanted;
      const [golden, part] = await Promise.all([this.fetchGolden(record), record.has_image ? fetchPicture(`/v1/records/${record.id}/image`, t("part")) : null]);
      this.record = record;
      this.size = part && [part.naturalWidth, part.naturalHeight];
      this.golden.replaceChildren(golden ?? missing("golden.gone"));
      this.part.replaceChildren(part ?? missing("image.gone"), this.marks);
      setText(this.number, `#${record.id}${record.reference ? ` · ${record.reference}` : ""}`);
      this.drawMarks();
    }
    this.loading = false;
    this.element.classList.remove("behind");
  }

  /** The golden of a record, loaded once for all parts that were compared with it. */
  async fetchGolden(record) {
    const key = `${record.product} ${record.golden_sha256}`;
    if (this.goldenKey !== key || !this.goldenPicture) {
      this.goldenPicture = await fetchPicture(`/v1/records/${record.id}/golden`, t("golden"));
      this.goldenKey = key;
    }
    return this.goldenPicture;
  }

  drawMarks() {
    if (!this.size) {
      this.marks.replaceChildren();
      return;
    }
    const [width, height] = this.size;
    this.marks.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const heat = shown.heat && this.record.has_map
      ? s("image", { href: `/v1/records/${this.record.id}/map.png`, width, height, preserveAspectRatio: "none" })
      : null;
    const boxes = shown.boxes ? this.record.defects.map((defect) => box(defect, width, height)) : [];
    this.marks.replaceChildren(...[heat, ...boxes].filter(Boolean));
  }
}

function box({ bbox_2d: [x1, y1, x2, y2], label }, width, height) {
  const size = Math.max(width, height) / 26;
  const place = { x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
  const above = y1 > 1.4 * size ? y1 - 0.4 * size : Math.min(height - 0.3 * size, y2 + size);
  return s(
    "g",
    {},
    s("rect", { ...place, class: "halo" }),
    s("rect", { ...place, class: "box" }),
    s("text", { x: Math.min(x1, width - size * 3), y: above, "font-size": size, "stroke-width": size / 5 }, named("label", label)),
  );
}

/** A picture that is ready to be drawn, or null. */
async function fetchPicture(url, alt) {
  const picture = new Image();
  picture.alt = alt;
  picture.src = url;
  try {
    await picture.decode();
  } catch {
    return null;
  }
  return picture;
}

function missing(key) {
  return h("p", { class: "missing" }, t(key));
}
