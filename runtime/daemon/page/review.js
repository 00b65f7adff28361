// One touch: it was good, it was bad. What is noted is what the operator looked at.

import { post } from "./api.js";
import { h, setText } from "./dom.js";
import { t } from "./texts.js";
import { tell } from "./toast.js";

const JUST_MS = 350; // a touch this soon after a change was meant for the part before

export class ReviewButtons {
  /** onMisaimed: called with the record before, when a touch came just after a change. */
  constructor(onMisaimed = null) {
    this.onMisaimed = onMisaimed;
    this.words = h("span", { class: "ask" });
    this.buttons = Object.fromEntries(
      ["good", "bad"].map((truth) => [
        truth,
        h("button", { type: "button", class: `truth ${truth}`, "aria-keyshortcuts": truth[0], on: { click: () => this.say(truth) } }),
      ]),
    );
    this.element = h("div", { class: "review", role: "group", "aria-label": t("review") }, this.words, Object.values(this.buttons));
  }

  show(record) {
    if (record && record.id !== this.record?.id) {
      this.before = this.record;
      this.changedAt = performance.now();
    }
    this.record = record;
    this.element.hidden = !record;
    if (!record) return;
    setText(this.words, t("review.of", { id: record.id }));
    for (const [truth, button] of Object.entries(this.buttons)) {
      const isWrong = truth === "good" ? record.verdict !== "normal" : record.verdict !== "anomaly";
      const key = record.verdict === "uncertain" || !isWrong ? `review.${truth}` : `review.wrong.${truth}`;
      setText(button, t(key));
      button.classList.toggle("wrong", isWrong);
      button.setAttribute("aria-pressed", record.review?.truth === truth);
    }
  }

  /** The next touch is meant for what is shown, however soon it comes. */
  meant() {
    this.before = null;
  }

  async say(truth) {
    const record = this.record;
    if (!record) return;
    const { before } = this;
    if (this.onMisaimed && before && performance.now() - this.changedAt < JUST_MS) {
      this.onMisaimed(before);
      this.meant();
      tell(t("review.moved", { id: before.id }));
      return;
    }
    try {
      await post(`/v1/records/${record.id}/review`, { truth });
      tell(t("review.noted", { id: record.id, truth: t(`truth.${truth}`) }));
    } catch (error) {
      tell(t("review.failed", { id: record.id, why: error.message }), true);
    }
  }
}
