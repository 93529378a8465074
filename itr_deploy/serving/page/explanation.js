// What matched: words, boxes, steps and the table, for one query and one picture.

import { element } from "./dom.js";
import { Choice } from "./choice.js";
import { regionsOf, tellingWord, whereabouts, wordsOf } from "./lighting.js";
import { overlaid } from "./overlay.js";
import { percent, relevance } from "./numbers.js";
import { weightsTable } from "./weights_table.js";
import { wordButtons } from "./words.js";

const LEAST_TOLD = 0.01; // weights that a sentence names

/**
 * The parts of an explanation: `picture` with its overlay (null where nothing is known of places),
 * `told`, and `pinned`, the word or region that is looked at.
 *
 * @param told The server's explanation.
 * @param image The picture's element, null where none is served.
 * @param before The word that was looked at in another hit of the same query.
 * @param chooseStep Called with another step and who attends.
 */
export function explanation(told, image, before, chooseStep) {
  const boxes = told.regions.map(({ box }) => box);
  const size = told.picture_size;
  const placed = size !== null && boxes.some((box) => box !== null);
  const over = placed ? overlaid(image ?? element("span"), boxes, size) : null;
  const says = element("p", { class: "says", "aria-live": "polite" });

  const choice = new Choice((now, pinned) => {
    words.paint(now, pinned);
    over?.draw(...lit(told, now));
    says.replaceChildren(...spoken(told, now, placed));
  });
  const words = wordButtons(told, choice);
  if (over) pointing(over, choice);

  const parts = [
    element("h3", { id: "words-title" }, "What matched"),
    words.group,
    says,
    steps(told, chooseStep),
    told.exact ? null : element("p", { class: "hint" }, "Not exact: these weights are rounded, as the gallery or the model stores its numbers."),
    weightsTable(told, choice, !placed),
  ];
  const known = before?.word !== undefined && before.word < told.words.length;
  choice.pin(known ? before : { word: tellingWord(told) });
  return { picture: over?.frame ?? null, parts, choice };
}

function pointing({ frame, regionOf }, choice) {
  const at = (event) => {
    const region = regionOf(event);
    return region === null ? null : { region };
  };
  frame.addEventListener("pointermove", (event) => event.pointerType === "mouse" && choice.point(at(event)));
  frame.addEventListener("pointerleave", () => choice.point(null));
  frame.addEventListener("click", (event) => {
    const region = at(event);
    if (region) choice.pin(region);
  });
}

/** What lights up in the picture, and the label of the first. */
function lit({ attention }, now) {
  if (now?.word !== undefined) {
    const regions = regionsOf(attention, now.word);
    return [regions, regions.length ? percent(regions[0].weight) : ""];
  }
  return now === null ? [[], ""] : [[{ region: now.region, share: 1 }], `Region ${now.region}`];
}

function spoken(told, now, placed) {
  const { words, regions, attention, picture_size: size } = told;
  const where = (number) => (regions[number].box && size ? whereabouts(regions[number].box, size) : null);
  const inside = (...parts) => `(${parts.filter(Boolean).join(", ")})`;
  if (now === null) {
    return [placed ? "Choose a word to see its regions, or a place in the picture to see its words." : "Choose a word."];
  }
  if (now.region !== undefined) {
    const strongest = wordsOf(attention, now.region)
      .sort((one, other) => other.weight - one.weight)
      .filter(({ weight }, place) => place === 0 || weight >= LEAST_TOLD)
      .slice(0, 3);
    const names = strongest.map(({ word, weight }) => `${words[word].text} ${percent(weight)}`);
    const place = where(now.region);
    return [element("strong", {}, `Region ${now.region}`), `${place ? ` (${place})` : ""}: ${names.join(", ")}`];
  }
  const { text, relevance: matched } = words[now.word];
  const lights = regionsOf(attention, now.word)
    .slice(0, 3)
    .map((one) => `${one.region} ${inside(where(one.region), percent(one.weight))}`);
  const found = lights.length ? `strongest in region ${lights.join(", ")}` : "no region";
  return [element("strong", {}, text), `: relevance ${relevance(matched)}, ${found}.`];
}

const WHO = { text: "words attend to regions", image: "regions attend to words" };

function steps({ steps: all, step, attends }, choose) {
  if (all.length < 2) return element("p", { class: "hint" }, `Here ${WHO[attends]}.`);
  const select = element(
    "select",
    { id: "step" },
    all.map((one, place) =>
      element(
        "option",
        { value: place, selected: one.step === step && one.attends === attends },
        `${one.step}: ${WHO[one.attends]}`,
      ),
    ),
  );
  select.addEventListener("change", () => choose(all[Number(select.value)]));
  return element("p", { class: "steps" }, element("label", { for: "step" }, "Step"), select);
}
