// What became of earlier parts: a table with filter, page by page.

import { get } from "./api.js";
import { button, h, setText } from "./dom.js";
import { clock, named, number, t } from "./texts.js";
import { badge, reason } from "./verdict.js";

const LIMIT = 50;
const REASONS = ["takt_overrun", "image_unusable", "inspection_failed", "worker_stuck", "worker_died", "interrupted", "drained", "journal_failed", "question_unusable", "camera_gone", "product_unknown", "queue_full"];

export class HistoryView {
  /** query: the filter as the address has it. */
  constructor(feed, query) {
    this.feed = feed;
    this.query = new URLSearchParams(query);
    this.pages = [null]; // where each page begins
    this.rows = h("tbody");
    this.told = h("p", { class: "told", role: "status" });
    this.newer = button(t("newer"), () => this.turn(-1));
    this.older = button(t("older"), () => this.turn(1));
    this.export = h("a", { class: "button", download: true }, t("export"));
    this.element = h(
      "div",
      { class: "sheet" },
      h("h1", {}, t("page.history")),
      this.filter(),
      h("div", { class: "scroll" }, h("table", { class: "records" }, h("thead", {}, h("tr", {}, columns().map((key) => h("th", { scope: "col" }, t(key))))), this.rows)),
      h("div", { class: "foot" }, this.newer, this.older, this.told, this.export),
    );
    this.load();
  }

  close() {}

  filter() {
    const field = (name, key, control) => h("label", {}, t(key), control);
    const text = (name, type = "text") => h("input", { name, type, value: this.query.get(name), list: type === "text" ? `known-${name}` : null });
    const choice = (name, options) =>
      h("select", { name }, h("option", { value: "" }, t("any")), options.map(([value, words]) => h("option", { value, selected: this.query.get(name) === value }, words)));
    const verdicts = ["normal", "anomaly", "uncertain"].map((name) => [name, t(`verdict.${name}`)]);
    const truths = ["any", "good", "bad"].map((name) => [name, t(`truth.${name}`)]);
    const names = (name, values) => h("datalist", { id: `known-${name}` }, [...new Set(values)].map((value) => h("option", { value })));
    const stations = this.feed.state?.stations ?? [];
    this.form = h(
      "form",
      { class: "filter", on: { submit: (event) => event.preventDefault(), change: () => this.apply() } },
      field("verdict", "verdict", choice("verdict", verdicts)),
      field("reason", "reason", choice("reason", REASONS.map((name) => [name, t(`reason.${name}`)]))),
      field("station", "station", text("station")),
      field("product", "product", text("product")),
      field("reference", "reference", text("reference")),
      field("since", "since", text("since", "datetime-local")),
      field("until", "until", text("until", "datetime-local")),
      field("truth", "review", choice("truth", truths)),
      button(t("filter.clear"), () => this.clear()),
      names("station", stations.map((at) => at.name)),
      names("product", stations.map((at) => at.product)),
    );
    return this.form;
  }

  clear() {
    for (const control of this.form.querySelectorAll("input, select")) control.value = "";
    this.apply();
  }

  /** Put the filter into the address, and show its first page. */
  apply() {
    this.query = new URLSearchParams([...new FormData(this.form)].filter(([, value]) => value));
    history.replaceState(null, "", `#/history/${encodeURIComponent(this.query)}`);
    this.pages = [null];
    this.load();
  }

  turn(step) {
    if (step > 0) this.pages.push(this.next);
    else this.pages.pop();
    this.load();
  }

  /** The filter as the daemon has it: moments in UTC. */
  asked() {
    const asked = new URLSearchParams(this.query);
    for (const name of ["since", "until"]) {
      if (asked.get(name)) asked.set(name, new Date(asked.get(name)).toISOString());
    }
    return asked;
  }

  async load() {
    const asked = this.asked();
    this.export.href = `/v1/reviews/export?${asked}`;
    asked.set("limit", LIMIT);
    if (this.pages.at(-1) !== null) asked.set("before", this.pages.at(-1));
    try {
      const { records, next_before: next } = await get(`/v1/records?${asked}`);
      this.next = next;
      this.rows.replaceChildren(...records.map((record) => row(record)));
      setText(this.told, records.length ? t("page.told", { page: this.pages.length, count: records.length }) : t("none.found"));
    } catch (error) {
      this.next = null;
      this.rows.replaceChildren();
      setText(this.told, error.message);
    }
    this.newer.disabled = this.pages.length === 1;
    this.older.disabled = this.next === null;
  }
}

function columns() {
  return ["number", "verdict", "why", "score.short", "reference", "product", "station", "received", "review"];
}

function row(record) {
  const open = () => (location.hash = `#/record/${record.id}`);
  return h(
    "tr",
    { on: { click: open } },
    h("td", {}, h("a", { href: `#/record/${record.id}` }, `#${record.id}`)),
    h("td", {}, badge(record.verdict)),
    h("td", { class: "long" }, reason(record)),
    h("td", { class: "figure" }, number(record.anomaly_score, 2)),
    h("td", {}, record.reference ?? "–"),
    h("td", {}, record.product),
    h("td", {}, record.station),
    h("td", {}, clock(record.received_at)),
    h("td", {}, record.review ? named("truth", record.review.truth) : "–"),
  );
}
