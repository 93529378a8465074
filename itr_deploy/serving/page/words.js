// The query's words as buttons, coloured by how well they are matched.

import { element, styled } from "./dom.js";
import { isMark, relevances, wordsOf } from "./lighting.js";
import { percent, relevance } from "./numbers.js";

/** The group of buttons, and `paint` to colour them for a choice. */
export function wordButtons({ words, attention }, choose) {
  const buttons = words.map(({ text }, word) => {
    const value = element("span", { class: "value" });
    const button = element(
      "button",
      { type: "button", class: isMark(text) ? "word mark" : "word", "aria-pressed": "false" },
      element("span", {}, text),
      value,
    );
    choose.by(button, { word });
    return { button, value };
  });
  const matched = relevances(words);

  /** Colour by relevance, or for a region by how much each word and the region found each other. */
  function paint(now, pinned) {
    const found = now?.region === undefined ? null : wordsOf(attention, now.region);
    buttons.forEach(({ button, value }, word) => {
      styled(button, "--share", found ? found[word].share : matched[word]);
      value.textContent = found ? percent(found[word].weight) : relevance(words[word].relevance);
      button.classList.toggle("now", now?.word === word);
      button.setAttribute("aria-pressed", String(pinned?.word === word));
    });
  }

  const group = element(
    "div",
    { class: "words", role: "group", "aria-labelledby": "words-title" },
    buttons.map(({ button }) => button),
  );
  return { group, paint };
}
