// One record with all that is known of it.

import { get } from "./api.js";
import { h } from "./dom.js";
import { Pair, toggle } from "./pair.js";
import { ReviewButtons } from "./review.js";
import { clock, number, t } from "./texts.js";
import { badge, reason, scoreWords } from "./verdict.js";

export class RecordView {
  constructor(feed, id) {
    this.feed = feed;
    this.id = Number(id);
    this.pair = new Pair();
    this.review = new ReviewButtons();
    this.review.show(null);
    this.head = h("div", { class: "record-head" });
    this.facts = h("dl", { class: "facts-list" });
    this.element = h("div", { class: "sheet" }, this.head, this.review.element, this.pair.element, this.facts);
    this.listener = (event) => this.takeReview(event.detail);
    feed.addEventListener("review", this.listener);
    this.load();
  }

  close() {
    this.pair.close();
    this.feed.removeEventListener("review", this.listener);
  }

  key(key) {
    const acts = {
      ArrowLeft: () => (location.hash = `#/record/${this.id - 1}`),
      ArrowRight: () => (location.hash = `#/record/${this.id + 1}`),
      Escape: () => history.back(),
      g: () => this.review.say("good"),
      b: () => this.review.say("bad"),
      h: () => toggle("heat"),
      x: () => toggle("boxes"),
    };
    acts[key]?.();
    return key in acts;
  }

  async load() {
    try {
      this.record = await get(`/v1/records/${this.id}`);
    } catch (error) {
      this.head.replaceChildren(h("h1", {}, `#${this.id}`), h("p", { class: "problem" }, error.message));
      return;
    }
    this.show();
  }

  takeReview(review) {
    if (review.part !== this.id || !this.record) return;
    this.record = { ...this.record, review };
    this.show();
  }

  show() {
    const record = this.record;
    this.head.replaceChildren(h("h1", {}, `${t("part")} #${record.id}`), badge(record.verdict), h("p", {}, [reason(record), scoreWords(record)].filter(Boolean).join("  ·  ")));
    this.review.show(record);
    this.pair.show(record);
    this.facts.replaceChildren(...facts(record).flatMap(([key, value]) => [h("dt", {}, t(key)), h("dd", {}, value)]));
  }
}

function facts(record) {
  const took = Object.entries(record.timings_ms).map(([name, ms]) => `${name} ${number(ms, 1)} ms`);
  const words = Object.entries(record.text).map(([task, text]) => `${task}: ${text}`);
  const known = [
    ["received", clock(record.received_at)],
    ["station", record.station],
    ["product", record.product],
    ["reference", record.reference],
    ["source", record.source],
    ["detail", record.detail],
    ["model.says", words.join("\n")],
    ["timings", took.join(", ")],
    ["notes", record.notes.join(", ")],
    ["decided.by", record.path],
    ["model", [record.bundle, record.engine].filter(Boolean).join(", ")],
    ["image.hash", record.image_sha256],
    ["golden.hash", record.golden_sha256],
    ["review", record.review && `${t(`truth.${record.review.truth}`)} (${record.review.who}, ${clock(record.review.at)})`],
  ];
  return known.filter(([, value]) => value);
}
