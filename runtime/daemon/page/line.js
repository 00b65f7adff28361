// What this page knows of the line, from the daemon's events. Old news is never told as new.

import { session } from "./api.js";

const NUM_PARTS = 50;
const SILENCE_MS = 3500; // the daemon tells its state each second
const RETRY_MS = 2000;

export class LineFeed extends EventTarget {
  constructor() {
    super();
    this.records = []; // oldest first, of all stations
    this.state = null;
    this.connection = "connecting"; // then "open" or "lost"
    this.lostAt = null;
    this.incoming = null;
    this.heardAt = performance.now();
    setInterval(() => this.watch(), 500);
    this.open();
  }

  open() {
    this.source?.close();
    this.heardAt = performance.now();
    const source = (this.source = new EventSource("/v1/live"));
    source.addEventListener("open", () => (this.incoming = []));
    source.addEventListener("state", (event) => this.hear(() => (this.state = JSON.parse(event.data)), "state"));
    source.addEventListener("record", (event) => this.hear(() => this.take(JSON.parse(event.data))));
    source.addEventListener("caught-up", () => this.hear(() => this.catchUp(), "records"));
    source.addEventListener("review", (event) => this.hear(() => this.takeReview(JSON.parse(event.data)), "records"));
    source.addEventListener("error", () => this.lose());
  }

  hear(take, told) {
    this.heardAt = performance.now();
    take();
    if (told) this.tell(told);
  }

  take(record) {
    if (this.incoming) {
      this.incoming.push(record);
      return;
    }
    this.records = [...this.records.filter((old) => old.id !== record.id), record].slice(-NUM_PARTS);
    this.tell("records");
  }

  /** All that was missed is here: only now the display is the line's again. */
  catchUp() {
    this.records = this.incoming ?? [];
    this.incoming = null;
    this.connection = "open";
    this.lostAt = null;
    this.tell("connection");
  }

  takeReview(review) {
    this.records = this.records.map((old) => (old.id === review.part ? { ...old, review } : old));
    this.dispatchEvent(new CustomEvent("review", { detail: review }));
  }

  watch() {
    if (performance.now() - this.heardAt > SILENCE_MS) this.lose();
    if (this.connection === "lost") this.tell("connection");
  }

  lose() {
    if (this.connection !== "lost") {
      this.connection = "lost";
      this.lostAt = Date.now();
      this.tell("connection");
      session().catch(() => {});
    }
    this.source.close();
    if (this.retry) return;
    this.retry = setTimeout(() => {
      this.retry = null;
      this.open();
    }, RETRY_MS);
  }

  tell(kind) {
    this.dispatchEvent(new Event(kind));
  }
}
