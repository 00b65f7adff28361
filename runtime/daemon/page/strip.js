// The last parts as a strip of marks, the newest at the right.

import { h } from "./dom.js";
import { t } from "./texts.js";
import { shape } from "./verdict.js";

export class Strip {
  /** onPick: called with the record that was picked. */
  constructor(onPick) {
    this.onPick = onPick;
    this.cells = new Map();
    this.element = h("div", { class: "strip", role: "toolbar", "aria-label": t("strip") });
  }

  /** Show records, oldest first; `current` is the id of the one that is looked at. */
  show(records, current) {
    const wanted = new Set(records.map((record) => record.id));
    for (const [id, cell] of this.cells) {
      if (!wanted.has(id)) {
        cell.element.remove();
        this.cells.delete(id);
      }
    }
    for (const record of records) {
      const cell = this.cells.get(record.id) ?? this.add(record);
      cell.record = record;
      const isCurrent = record.id === current;
      cell.element.setAttribute("aria-current", isCurrent);
      cell.element.tabIndex = isCurrent ? 0 : -1;
      cell.element.dataset.truth = record.review?.truth ?? "";
    }
    const newest = records.at(-1)?.id;
    if (newest !== this.newest) this.element.scrollLeft = this.element.scrollWidth;
    this.newest = newest;
  }

  add(record) {
    const words = `#${record.id} ${t(`verdict.${record.verdict}`)}`;
    const element = h(
      "button",
      { type: "button", class: `cell ${record.verdict}`, title: words, "aria-label": words },
      shape(record.verdict),
    );
    const cell = { element, record };
    element.addEventListener("click", () => this.onPick(cell.record));
    this.cells.set(record.id, cell);
    this.element.append(element);
    return cell;
  }
}
