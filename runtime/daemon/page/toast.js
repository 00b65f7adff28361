// Short notices that go by themselves; failures stay longer.

import { h } from "./dom.js";

const place = h("div", { class: "toasts", role: "status", "aria-live": "polite" });

/** Where notices are shown; put it into the page once. */
export function toastPlace() {
  return place;
}

/** Show a notice. */
export function tell(words, isFailure = false) {
  const notice = h("p", { class: isFailure ? "toast failure" : "toast" }, `${isFailure ? "⚠" : "✓"} ${words}`);
  place.replaceChildren(notice);
  setTimeout(() => notice.remove(), isFailure ? 9000 : 4000);
}
