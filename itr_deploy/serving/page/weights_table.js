// All weights as a table: for those who see no boxes, and where there are none.

import { element, styled } from "./dom.js";
import { whereabouts } from "./lighting.js";
import { percents, relevance } from "./numbers.js";

/** The table, folded up where boxes are drawn. */
export function weightsTable({ words, regions, attention, picture_size: size }, choose, open) {
  const head = element(
    "tr",
    {},
    element("th", { scope: "col" }, "Region"),
    words.map(({ text }) => element("th", { scope: "col" }, text)),
  );
  const matched = element(
    "tr",
    { class: "matched" },
    element("th", { scope: "row" }, "relevance"),
    words.map((word) => element("td", {}, relevance(word.relevance))),
  );
  const largest = attention.map((row) => Math.max(...row));
  const rows = regions.map(({ box }, region) => {
    const button = element("button", { type: "button" }, named(region, box, size));
    choose.by(button, { region });
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, button),
      attention.map((row, word) =>
        styled(
          element("td", row[region] === largest[word] ? { class: "top" } : {}, percents(row[region])),
          "--share",
          largest[word] > 0 ? row[region] / largest[word] : 0,
        ),
      ),
    );
  });
  return element(
    "details",
    { class: "weights", open },
    element("summary", {}, "All weights, in percent"),
    element(
      "div",
      { class: "table", tabindex: "0", role: "region", "aria-label": "Weights of words and regions" },
      element("table", {}, element("thead", {}, head), element("tbody", {}, matched, rows)),
    ),
    element("p", { class: "hint" }, "A weight says where the model looked, not that this decided the score."),
  );
}

/** A region's number, from 0 as everywhere, and where it is. */
function named(region, box, size) {
  return box && size ? `${region}, ${whereabouts(box, size)}` : `${region}`;
}
