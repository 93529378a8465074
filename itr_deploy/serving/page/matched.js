// The dialog of a hit: its picture, what matched, and what else is known of it.

import { byId, element } from "./dom.js";
import { explanation } from "./explanation.js";
import { titled } from "./hits.js";
import { sentence } from "./notice.js";
import { score, shown } from "./numbers.js";
import { patiently } from "./patient.js";
import { picture } from "./picture.js";

const SIDE = 1280; // pixels of a picture's longer side

export class Matched {
  #dialog = byId("matched");
  #body = this.#dialog.querySelector(".body");
  #asking = null;
  #step = null;
  #choice = null;
  #search = null;
  #place = 0;

  /**
   * @param moved Called with the place of the hit that is looked at.
   * @param closed Called with the place of the last one.
   */
  constructor(moved, closed) {
    this.moved = moved;
    this.#dialog.addEventListener("close", () => {
      this.#asking?.abort();
      this.#body.replaceChildren();
      if (this.#search !== null) closed(this.#place);
    });
    this.#dialog.querySelector("[data-close]").addEventListener("click", () => this.close());
    for (const button of this.#dialog.querySelectorAll("[data-go]")) {
      button.addEventListener("click", () => this.#go(Number(button.dataset.go)));
    }
    this.#dialog.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const own = event.target.closest("select, .table");
      if (!by || own || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      this.#go(by);
    });
  }

  get isOpen() {
    return this.#dialog.open;
  }

  close() {
    this.#dialog.close();
  }

  /** Close it as its search is no longer shown; nobody is told. */
  dismiss() {
    this.#search = null;
    this.close();
  }

  /** Show a hit of a search: {hits, query, model}; query is null for a picture's. */
  open(search, place) {
    if (search !== this.#search) {
      this.#step = null;
      this.#choice = null;
    }
    this.#search = search;
    this.#show(place);
    if (!this.isOpen) {
      this.#dialog.showModal();
      byId("matched-title").focus();
    }
  }

  #go(by) {
    const place = this.#place + by;
    if (this.#search.hits[place] === undefined) return;
    this.#show(place);
    this.moved(place);
  }

  #show(place) {
    const { hits, model } = this.#search;
    const hit = hits[place];
    this.#place = place;
    const { title, rest } = titled(hit, model.gallery.modality);
    byId("matched-title").textContent = title;
    this.#dialog
      .querySelector(".place")
      .replaceChildren(`Hit ${place + 1} of ${hits.length}`, element("span", { class: "unseen" }, `: ${title}`));
    for (const button of this.#dialog.querySelectorAll("[data-go]")) {
      const end = hits[place + Number(button.dataset.go)] === undefined;
      button.setAttribute("aria-disabled", String(end));
    }
    const image = model.pictures ? picture(hit.id, SIDE, hit.id) : null;
    image?.setAttribute("loading", "eager");
    const frame = element("div", { class: "seen" }, image);
    frame.hidden = image === null;
    const told = element("div", { class: "matching" });
    const side = element("div", { class: "side" }, told, facts(hit, rest));
    this.#body.replaceChildren(frame, side);
    this.#body.scrollTop = 0;
    this.#explain(hit, image, frame, told);
  }

  async #explain(hit, image, frame, told) {
    this.#asking?.abort();
    const { query, model } = this.#search;
    if (query === null || !model.explains) {
      const reason = model.explains ? "what matched is told of queries that are texts" : model.no_explanation_because;
      told.replaceChildren(...(reason ? [element("p", { class: "hint" }, sentence(reason))] : []));
      return;
    }
    const asking = new AbortController();
    this.#asking = asking;
    told.setAttribute("aria-busy", "true");
    if (!told.hasChildNodes()) told.append(element("p", { class: "hint" }, "Finding out what matched …"));
    try {
      const body = { query, id: hit.id, ...this.#step };
      const answer = await patiently("v1/explain", { body, signal: asking.signal });
      const parts = explanation(answer, image, this.#choice?.pinned, (step) => {
        this.#step = { step: step.step, attends: step.attends };
        this.#explain(hit, image, frame, told).then(() => byId("step")?.focus());
      });
      this.#choice = parts.choice;
      if (parts.picture) {
        frame.replaceChildren(parts.picture);
        frame.hidden = false;
      }
      told.replaceChildren(...parts.parts.filter(Boolean));
    } catch (error) {
      if (error.name === "AbortError") return;
      told.replaceChildren(
        element("p", { role: "alert", class: "problem" }, sentence(error.message), error.hint ? ` ${sentence(error.hint)}` : null),
      );
    }
    told.removeAttribute("aria-busy");
  }
}

function facts(hit, rest) {
  const again = hit.rerank_score ?? null;
  const known = [
    ["score", score(hit.score)],
    ...(again === null ? [] : [["re-ranked", `${score(again)}, was ${hit.matcher_rank}`]]),
    ...rest.map(([name, value]) => [name, shown(value)]),
  ];
  return element(
    "dl",
    { class: "facts" },
    known.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
  );
}
