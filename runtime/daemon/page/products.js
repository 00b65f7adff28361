// Products and their goldens: add, approve, go back; and which product a station has.

import { get, post } from "./api.js";
import { button, h } from "./dom.js";
import { clock, named, t } from "./texts.js";
import { tell } from "./toast.js";

export class ProductsView {
  constructor(feed) {
    this.feed = feed;
    this.list = h("div", { class: "products" }, h("p", {}, t("loading")));
    this.element = h("div", { class: "sheet" }, h("h1", {}, t("page.products")), this.list);
    this.load();
  }

  close() {}

  async load() {
    try {
      const { products } = await get("/v1/products");
      const shelves = await Promise.all(products.map((product) => get(`${path(product.name)}/goldens`)));
      this.list.replaceChildren(...products.map((product, index) => this.card(product, shelves[index])));
    } catch (error) {
      this.list.replaceChildren(h("p", { class: "problem" }, error.message));
    }
  }

  card(product, shelf) {
    const canGoBack = (shelf.revisions ?? []).some((item) => item.number === shelf.revision && item.parent !== null);
    const others = (this.feed.state?.stations ?? []).filter((at) => at.product !== product.name);
    return h(
      "section",
      { class: "card product" },
      h("h2", {}, product.name, (product.stations ?? []).map((name) => h("span", { class: "tag" }, t("runs.at", { station: name })))),
      h("div", { class: "goldens" }, shelf.goldens.map((golden) => this.golden(product, golden)), shelf.goldens.length === 0 && h("p", {}, t("goldens.none"))),
      h(
        "div",
        { class: "acts" },
        this.upload(product),
        cameras(this.feed.state).map((name) => button(t("golden.from.camera", { camera: name }), () => this.act(`${path(product.name)}/goldens`, t("golden.added"), { camera: name }))),
        button(t("golden.from.part"), () => this.addLast(product)),
        canGoBack && button(t("roll.back"), () => this.act(`${path(product.name)}/goldens/rollback`, t("rolled.back"))),
        others.map((at) => button(t("switch.to", { station: at.name, product: product.name }), () => this.act(`/v1/stations/${encodeURIComponent(at.name)}/product`, t("switched"), { product: product.name }))),
      ),
    );
  }

  golden(product, golden) {
    const state = golden.state.replace(" ", "_");
    const url = `${path(product.name)}/goldens/${encodeURIComponent(golden.id)}`;
    return h(
      "figure",
      { class: `golden ${state}` },
      h("img", { src: `${url}/image`, alt: `${t("golden")} ${golden.id}`, loading: "lazy" }),
      h("figcaption", {}, h("b", {}, named("golden.state", state)), golden.added_at && h("small", {}, clock(golden.added_at)), golden.added_by && h("small", {}, golden.added_by)),
      golden.state === "pending" && button(t("approve"), () => this.act(`${url}/approve`, t("approved")), { class: "main" }),
    );
  }

  upload(product) {
    const file = h("input", { type: "file", accept: "image/*", class: "only-read", on: { change: () => this.send(product, file.files[0]) } });
    return h("label", { class: "button" }, t("golden.upload"), file);
  }

  send(product, image) {
    const content = new FormData();
    content.append("image", image);
    return this.act(`${path(product.name)}/goldens`, t("golden.added"), content);
  }

  /** The last part that was inspected; saying that it was good keeps its picture. */
  async addLast(product) {
    const record = this.feed.records.findLast((item) => item.product === product.name && item.has_image);
    if (!record) {
      tell(t("no.part.of", { product: product.name }), true);
      return;
    }
    if (!confirm(t("golden.from.part.sure", { id: record.id, verdict: t(`verdict.${record.verdict}`) }))) return;
    try {
      await post(`/v1/records/${record.id}/review`, { truth: "good" });
    } catch (error) {
      tell(error.message, true);
      return;
    }
    await this.act(`${path(product.name)}/goldens`, t("golden.added"), { record: record.id });
  }

  async act(url, done, content) {
    try {
      await post(url, content);
      tell(done);
    } catch (error) {
      tell(error.message, true);
    }
    await this.load();
  }
}

/** The names of the station's cameras. */
function cameras(state) {
  return (state?.inputs ?? []).filter((input) => input.kind === "camera").map((input) => input.name);
}

function path(name) {
  return `/v1/products/${encodeURIComponent(name)}`;
}
