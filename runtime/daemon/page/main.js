// The page put together: bar, views by the address, keys, sign in.

import { post, session, whenSignedOut } from "./api.js";
import { button, h, setText } from "./dom.js";
import { HealthView } from "./health.js";
import { HistoryView } from "./history.js";
import { LineFeed } from "./line.js";
import { LiveView } from "./live.js";
import { openHelp, openLogin } from "./dialogs.js";
import { ProductsView } from "./products.js";
import { RecordView } from "./record.js";
import { changeLanguage, LANGUAGES, language, loadTexts, t } from "./texts.js";
import { toastPlace } from "./toast.js";

const VIEWS = ["live", "history", "products", "health"];

class Page {
  constructor() {
    this.feed = new LineFeed();
    this.station = new URLSearchParams(location.search).get("station");
    this.main = h("main", { id: "main", tabindex: "-1" });
    this.lost = h("p", { class: "lost-bar", role: "alert", hidden: true });
    document.getElementById("app").append(this.bar(), this.lost, this.main, toastPlace());
    addEventListener("hashchange", () => this.open());
    addEventListener("keydown", (event) => this.key(event));
    this.feed.addEventListener("state", () => this.showBar());
    this.feed.addEventListener("connection", () => this.showBar());
    whenSignedOut(() => openLogin(() => location.reload()));
    this.open();
    session().then((told) => this.showSession(told), () => {});
  }

  bar() {
    this.links = Object.fromEntries(
      VIEWS.map((name, index) => [name, h("a", { href: `#/${name}`, "aria-keyshortcuts": index + 1 }, t(`page.${name}`))]),
    );
    this.stations = h("select", { "aria-label": t("station"), on: { change: () => this.choose() } });
    this.running = h("span", { class: "running" });
    this.signOut = button(t("sign.out"), () => post("/logout").then(() => location.reload()), { hidden: true });
    return h(
      "header",
      { class: "bar" },
      h("b", { class: "brand" }, "AD-Copilot Edge"),
      h("nav", { "aria-label": t("pages") }, Object.values(this.links)),
      this.stations,
      this.running,
      h("span", { class: "grow" }),
      h(
        "select",
        { "aria-label": t("language"), class: "language", on: { change: (event) => changeLanguage(event.target.value) } },
        Object.entries(LANGUAGES).map(([tag, name]) => h("option", { value: tag, selected: tag === language }, name)),
      ),
      this.signOut,
      button("?", openHelp, { "aria-label": t("help"), class: "help" }),
    );
  }

  showSession(told) {
    this.role = told.role ?? null;
    this.signOut.hidden = told.way !== "session";
  }

  showBar() {
    const { state, connection, lostAt } = this.feed;
    const isLost = connection === "lost";
    this.lost.hidden = !isLost || this.name === "live";
    if (isLost) setText(this.lost, `⚠ ${t("lost")}: ${t("lost.why", { seconds: Math.round((Date.now() - lostAt) / 1000) })}`);
    const alarms = state?.alarms.length ?? 0;
    this.links.health.dataset.alarms = alarms || "";
    this.links.health.classList.toggle("alarming", alarms > 0);
    if (state) this.showStations(state.stations);
  }

  showStations(stations) {
    const told = JSON.stringify(stations);
    if (told === this.stationsTold) return;
    this.stationsTold = told;
    const only = stations.length === 1 ? stations[0] : stations.find((at) => at.name === this.station);
    this.stations.hidden = stations.length === 1;
    this.stations.replaceChildren(
      h("option", { value: "" }, t("all.stations")),
      ...stations.map((at) => h("option", { value: at.name, selected: at.name === this.station }, at.name)),
    );
    setText(this.running, only ? `${stations.length === 1 ? `${only.name} · ` : ""}${only.product}` : "");
  }

  choose() {
    const url = new URL(location.href);
    if (this.stations.value) url.searchParams.set("station", this.stations.value);
    else url.searchParams.delete("station");
    location.assign(url);
  }

  /** Show the view that the address names. */
  open() {
    const [, name = "live", rest = ""] = location.hash.split("/");
    this.view?.close();
    this.name = VIEWS.includes(name) || name === "record" ? name : "live";
    this.view = this.make(this.name, decodeURIComponent(rest));
    this.main.replaceChildren(this.view.element);
    this.main.dataset.view = this.name;
    for (const [key, link] of Object.entries(this.links)) {
      if (key === this.name || (key === "history" && this.name === "record")) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    document.title = `${t(`page.${this.name}`)} – AD-Copilot Edge`;
    this.showBar();
  }

  make(name, rest) {
    if (name === "history") return new HistoryView(this.feed, rest);
    if (name === "record") return new RecordView(this.feed, rest);
    if (name === "products") return new ProductsView(this.feed);
    if (name === "health") return new HealthView(this.feed);
    return new LiveView(this.feed, this.station);
  }

  key(event) {
    const isTyping = event.target.closest("input, select, textarea, dialog[open]");
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "?") openHelp();
    else if (VIEWS[event.key - 1]) location.hash = `#/${VIEWS[event.key - 1]}`;
    else if (event.key === "f") toggleFullScreen();
    else if (!this.view.key?.(event.key)) return;
    event.preventDefault();
  }
}

function toggleFullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen?.().catch(() => {});
}

await loadTexts();
new Page();
