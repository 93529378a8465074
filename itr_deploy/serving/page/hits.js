// The hits: a grid of pictures, or rows where there are none.

import { element } from "./dom.js";
import { shown, score } from "./numbers.js";
import { picture } from "./picture.js";

const SIDE = 480; // pixels of a picture's longer side

/**
 * Show the hits of a search.
 *
 * @param list The list's element.
 * @param hits The hits.
 * @param about Whether pictures are served, and the gallery's modality.
 * @param href The address that opens a hit, by its id.
 */
export function showHits(list, hits, { pictures, modality }, href) {
  list.className = pictures ? "grid" : "rows";
  list.replaceChildren(
    ...hits.map((hit) => {
      const { title, rest } = titled(hit, modality);
      return element(
        "li",
        {},
        element(
          "a",
          { class: "hit", href: href(hit.id) },
          pictures ? element("span", { class: "frame" }, picture(hit.id, SIDE)) : null,
          element(
            "span",
            { class: "line" },
            element("span", { class: "rank" }, element("span", { class: "unseen" }, "Rank "), `${hit.rank}`),
            element("span", { class: "name", title: hit.id }, title),
            scores(hit),
          ),
          rest.length ? values(rest) : null,
        ),
      );
    }),
  );
}

/** What a hit is called, its text where it is one, and what else is known of it. */
export function titled(hit, modality) {
  const { text, ...others } = hit.metadata;
  if (modality === "text" && typeof text === "string") {
    return { title: text, rest: Object.entries({ id: hit.id, ...others }) };
  }
  return { title: hit.id, rest: Object.entries(hit.metadata) };
}

function scores(hit) {
  const again = hit.rerank_score ?? null;
  return element(
    "span",
    { class: "score" },
    element("span", { class: "unseen" }, "score "),
    score(hit.score),
    again === null
      ? null
      : element("span", { class: "again" }, `re-ranked ${score(again)}, was ${hit.matcher_rank}`),
  );
}

const values = (pairs) =>
  element(
    "span",
    { class: "values" },
    pairs.map(([name, value]) => element("span", {}, element("span", { class: "of" }, name), ` ${shown(value)}`)),
  );

/** The link of a hit by its place, null if there is none. */
export const linkOf = (list, place) => list.querySelectorAll("a.hit")[place] ?? null;

/** Arrow keys, Home and End move among the hits. */
export function arrowsMove(list) {
  list.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const links = [...list.querySelectorAll("a.hit")];
    const here = links.indexOf(document.activeElement);
    if (here < 0) return;
    const columns = columnsOf(links);
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const goal = { Home: 0, End: links.length - 1 }[event.key] ?? here + steps[event.key];
    if (links[goal] === undefined) return;
    event.preventDefault();
    links[goal].focus();
  });
}

function columnsOf(links) {
  const top = links[0].getBoundingClientRect().top;
  const second = links.findIndex((link) => link.getBoundingClientRect().top > top + 1);
  return second < 0 ? links.length : second;
}
