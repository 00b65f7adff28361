// What opens over the page: the keys, and the token.

import { post } from "./api.js";
import { button, h, setText } from "./dom.js";
import { t } from "./texts.js";

const KEYS = [
  ["1 2 3 4", "keys.pages"],
  ["← →", "keys.browse"],
  ["Esc", "keys.back"],
  ["g", "keys.good"],
  ["b", "keys.bad"],
  ["x", "keys.boxes"],
  ["h", "keys.heat"],
  ["f", "keys.full"],
  ["?", "keys.help"],
];

let login = null;

/** Show the keys. */
export function openHelp() {
  if (document.querySelector("dialog.keys")) return;
  const rows = KEYS.map(([keys, key]) =>
    h("tr", {}, h("th", { scope: "row" }, keys.split(" ").map((name) => h("kbd", {}, name))), h("td", {}, t(key))),
  );
  const dialog = h(
    "dialog",
    { class: "keys", "aria-labelledby": "keys-title", on: { close: () => dialog.remove() } },
    h("h2", { id: "keys-title" }, t("keys")),
    h("table", {}, h("tbody", {}, rows)),
    button(t("close"), () => dialog.close(), { autofocus: true }),
  );
  document.body.append(dialog);
  dialog.showModal();
}

/** Ask for a token until one is right. */
export function openLogin(onDone) {
  if (login) return;
  const token = h("input", { type: "password", name: "token", autocomplete: "current-password", required: true, autofocus: true });
  const problem = h("p", { class: "problem", role: "alert" });
  const send = async (event) => {
    event.preventDefault();
    try {
      await post("/login", { token: token.value });
      login.close();
      onDone();
    } catch (error) {
      setText(problem, error.message);
      token.select();
    }
  };
  login = h(
    "dialog",
    { class: "login", "aria-labelledby": "login-title", on: { cancel: (event) => event.preventDefault() } },
    h(
      "form",
      { on: { submit: send } },
      h("h2", { id: "login-title" }, t("sign.in")),
      h("label", {}, t("token"), token),
      problem,
      h("button", { type: "submit", class: "main" }, t("sign.in")),
    ),
  );
  document.body.append(login);
  login.showModal();
}
