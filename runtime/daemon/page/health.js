// How the daemon is, in full.

import { get } from "./api.js";
import { h } from "./dom.js";
import { alarmList, allParts, lights } from "./parts_state.js";
import { named, number, t } from "./texts.js";

export class HealthView {
  constructor(feed) {
    this.feed = feed;
    this.alarms = h("div");
    this.states = h("div");
    this.counters = h("dl", { class: "facts-list" });
    this.products = h("tbody");
    this.reviews = h("p");
    const card = (title, ...content) => h("section", { class: "card" }, h("h2", {}, title), ...content);
    const head = ["product", "verdict.normal", "verdict.anomaly", "verdict.uncertain"].map((key) => h("th", { scope: "col" }, t(key)));
    this.element = h(
      "div",
      { class: "sheet" },
      h("h1", {}, t("page.health")),
      this.alarms,
      h("div", { class: "cards" }, card(t("states"), this.states), card(t("counts"), this.counters), card(t("last.day"), h("table", {}, h("thead", {}, h("tr", {}, head)), this.products), this.reviews)),
    );
    this.listener = () => this.show();
    for (const kind of ["state", "connection"]) feed.addEventListener(kind, this.listener);
    this.show();
    this.load();
  }

  close() {
    for (const kind of ["state", "connection"]) this.feed.removeEventListener(kind, this.listener);
  }

  show() {
    const { state, connection } = this.feed;
    this.element.classList.toggle("stale", connection !== "open");
    if (!state) return;
    const alarms = alarmList(state.alarms);
    this.alarms.replaceChildren(...(alarms ? [alarms] : [h("p", { class: "calm" }, `✓ ${t("no.alarms")}`)]));
    this.states.replaceChildren(lights(allParts(state)));
    const counters = state.counters;
    const rows = [
      [t("life"), [named("life", state.state), state.reason].filter(Boolean).join(": ")],
      [t("accepted"), number(counters.accepted)],
      [t("queued"), `${state.queued} / ${state.queue_size}`],
      [t("refused.full"), number(counters.refused_full)],
      [t("refused.not.ready"), number(counters.refused_not_ready)],
      [t("late.results"), number(counters.late_results)],
      [t("worker.restarts"), number(counters.worker_restarts)],
      [t("interrupted"), number(counters.interrupted_at_start)],
      ...Object.entries(counters.by_reason).map(([name, count]) => [named("reason", name), number(count)]),
    ];
    this.counters.replaceChildren(...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
  }

  async load() {
    try {
      const { by_product: products, reviews } = await get("/v1/statistics");
      this.products.replaceChildren(
        ...Object.entries(products).map(([name, counts]) =>
          h("tr", {}, h("th", { scope: "row" }, name), ["normal", "anomaly", "uncertain"].map((verdict) => h("td", { class: "figure" }, number(counts[verdict] ?? 0)))),
        ),
      );
      this.reviews.textContent = t("reviews.told", reviews);
    } catch (error) {
      this.reviews.textContent = error.message;
    }
  }
}
