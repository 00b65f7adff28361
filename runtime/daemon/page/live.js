// The live view: what the line does now, readable from three metres.

import { get } from "./api.js";
import { latencyChart, scoreChart, yieldChart } from "./charts.js";
import { button, h, setText } from "./dom.js";
import { Pair, toggle } from "./pair.js";
import { alarmList, allParts, lights } from "./parts_state.js";
import { ReviewButtons } from "./review.js";
import { Strip } from "./strip.js";
import { named, number, percent, t, timeOfDay } from "./texts.js";
import { reason, scoreWords, shape } from "./verdict.js";

const STATISTICS_MS = 60_000;

export class LiveView {
  /** feed: of the line. station: its name, or null for all of them. */
  constructor(feed, station) {
    this.feed = feed;
    this.station = station;
    this.pinned = null; // the id of the record that is looked at instead of the newest
    this.hours = [];
    this.pair = new Pair();
    this.strip = new Strip((record) => this.pin(record));
    this.review = new ReviewButtons((record) => this.pin(record));
    this.build();
    this.watch();
    this.show();
    this.loadStatistics();
  }

  build() {
    this.mark = h("div", { class: "mark" });
    this.word = h("div", { class: "word" });
    this.why = h("p", { class: "why" });
    this.facts = h("p", { class: "facts" });
    this.old = h("p", { class: "tag-old" }, t("pinned"));
    this.back = button(t("back"), () => this.pin(null), { class: "back", "aria-keyshortcuts": "Escape" });
    this.band = h(
      "section",
      { class: "band", "aria-label": t("verdict") },
      this.mark,
      this.word,
      h("div", { class: "about" }, this.old, this.why, this.facts, h("div", { class: "acts" }, this.review.element, this.back)),
    );
    this.spoken = h("p", { class: "only-read", role: "status", "aria-live": "assertive" });
    this.counts = h("dl", { class: "counts" });
    this.scores = h("div");
    this.yields = h("div", { class: "yields" });
    this.latency = h("div");
    this.states = h("div");
    this.alarms = h("div", { class: "alarm-place" });
    const card = (title, ...content) => h("section", { class: "card" }, h("h2", {}, title), ...content);
    this.element = h(
      "div",
      { class: "live" },
      this.alarms,
      this.band,
      this.spoken,
      h("div", { class: "middle" }, this.pair.element),
      h(
        "aside",
        { class: "side" },
        card(t("counts"), this.counts, this.latency),
        card(t("states"), this.states),
        h("section", { class: "card" }, this.scores, this.yields),
      ),
      this.strip.element,
    );
  }

  watch() {
    this.listeners = [
      ["records", () => this.show()],
      ["state", () => this.show()],
      ["connection", () => this.show()],
    ];
    for (const [kind, listener] of this.listeners) this.feed.addEventListener(kind, listener);
    this.timer = setInterval(() => this.loadStatistics(), STATISTICS_MS);
  }

  close() {
    for (const [kind, listener] of this.listeners) this.feed.removeEventListener(kind, listener);
    clearInterval(this.timer);
    this.pair.close();
  }

  get records() {
    return this.feed.records.filter((record) => !this.station || record.station === this.station);
  }

  /** The record that is looked at. */
  get current() {
    const records = this.records;
    return records.find((record) => record.id === this.pinned) ?? records.at(-1);
  }

  pin(record) {
    this.pinned = record === null || record.id === this.records.at(-1)?.id ? null : record.id;
    this.show();
    this.review.meant(); // whoever chose the part knows which one it is
  }

  /** Look at the part before or after. */
  move(step) {
    const records = this.records;
    const index = records.findIndex((record) => record.id === this.current?.id) + step;
    if (records[index]) this.pin(records[index]);
  }

  /** Do what a key says; whether it meant something. */
  key(key) {
    const acts = {
      ArrowLeft: () => this.move(-1),
      ArrowRight: () => this.move(1),
      Escape: () => this.pin(null),
      g: () => this.review.say("good"),
      b: () => this.review.say("bad"),
      h: () => toggle("heat"),
      x: () => toggle("boxes"),
    };
    acts[key]?.();
    return key in acts;
  }

  show() {
    const { state, connection } = this.feed;
    if (this.pinned !== null && !this.records.some((record) => record.id === this.pinned)) this.pinned = null;
    const record = this.current;
    const problem = this.problem();
    this.element.classList.toggle("stale", connection !== "open");
    this.showBand(problem, record);
    this.review.show(connection === "open" ? record : null);
    if (record) this.pair.show(record);
    this.strip.show(this.records, record?.id);
    this.scores.replaceChildren(h("p", { class: "legend" }, t("trend.scores")), scoreChart(this.records, t("trend.scores")));
    if (state) this.showState(state);
  }

  /** Why there is no verdict to show: [class, word, explanation], or null. */
  problem() {
    const { state, connection, lostAt } = this.feed;
    if (connection === "lost") {
      const seconds = number((Date.now() - lostAt) / 1000);
      return ["lost", t("lost"), t("lost.why", { seconds })];
    }
    if (connection === "connecting" || !state) return ["waiting", t("connecting"), ""];
    const stopping = state.alarms.find((alarm) => alarm.stops_line);
    if (stopping) return ["lost", t("stopped"), stopping.message];
    if (state.state !== "ready") {
      const left = state.ready_in_s === null ? "" : t("ready.in", { seconds: number(state.ready_in_s) });
      return ["waiting", named("life", state.state), [state.reason, left].filter(Boolean).join(" ")];
    }
    return this.current ? null : ["waiting", t("no.parts"), t("no.parts.why")];
  }

  showBand(problem, record) {
    const isPinned = this.pinned !== null && !problem;
    const kind = problem ? problem[0] : record.verdict;
    this.band.className = `band ${kind}${isPinned ? " pinned" : ""}`;
    this.back.hidden = this.old.hidden = !isPinned;
    const id = problem ? null : record.id;
    if (this.markOf !== `${kind} ${id}`) {
      this.markOf = `${kind} ${id}`;
      this.mark.replaceChildren(shape(kind === "waiting" ? "uncertain" : kind));
      this.band.classList.add("fresh");
    }
    setText(this.word, problem ? problem[1] : t(`verdict.${kind}`));
    setText(this.why, problem ? problem[2] : reason(record));
    setText(this.facts, problem ? "" : this.factsOf(record));
    setText(this.spoken, problem ? `${problem[1]}. ${problem[2].replace(/\d+ s/, "")}` : `${t("part")} ${id}: ${t(`verdict.${kind}`)}. ${reason(record)}`);
  }

  factsOf(record) {
    return [
      `#${record.id}`,
      record.reference,
      this.station || this.feed.state.stations.length === 1 ? "" : record.station,
      record.product,
      scoreWords(record),
      timeOfDay(record.received_at),
    ]
      .filter(Boolean)
      .join("  ·  ");
  }

  showState(state) {
    const alarms = alarmList(state.alarms);
    const told = JSON.stringify(state.alarms);
    if (told !== this.alarmsTold) {
      this.alarmsTold = told;
      this.alarms.replaceChildren(...(alarms ? [alarms] : []));
    }
    this.showCounts(state.counters);
    const takt = this.takt(state);
    const { p50, p99 } = state.latency_ms;
    const words = t("latency.words", { p50: number(p50), p99: number(p99), takt: takt === null ? "–" : number(takt) });
    this.latency.replaceChildren(latencyChart(state.latency_ms, takt, `${t("latency")}: ${words}`), h("p", { class: "legend" }, words));
    this.states.replaceChildren(lights(allParts(state)));
  }

  takt(state) {
    const known = state.stations.filter((at) => !this.station || at.name === this.station);
    const takts = known.map((at) => at.takt_ms).filter((ms) => ms !== null);
    return takts.length ? Math.min(...takts) : null;
  }

  showCounts(counters) {
    const of = (name) => counters.by_verdict[name] ?? 0;
    const total = of("normal") + of("anomaly") + of("uncertain");
    const refused = counters.refused_full + counters.refused_not_ready;
    const item = (key, value, kind = "") => h("div", { class: kind }, h("dt", {}, t(key)), h("dd", {}, value));
    this.counts.replaceChildren(
      item("verdict.normal", number(of("normal")), "normal"),
      item("verdict.anomaly", number(of("anomaly")), "anomaly"),
      item("verdict.uncertain", number(of("uncertain")), "uncertain"),
      item("yield", percent(total ? of("normal") / total : null)),
      item("queued", `${this.feed.state.queued} / ${this.feed.state.queue_size}`),
      item("refused", number(refused)),
    );
  }

  async loadStatistics() {
    const query = this.station ? `?station=${encodeURIComponent(this.station)}` : "";
    try {
      this.hours = (await get(`/v1/statistics${query}`)).hours;
    } catch {
      return; // the lost connection shows by itself
    }
    this.yields.replaceChildren(h("p", { class: "legend" }, t("trend.yield")), yieldChart(this.hours, t("trend.yield")));
  }
}
