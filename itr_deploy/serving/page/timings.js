// Where a search's time went: a bar of its stages, and the same in words.

import { element, styled } from "./dom.js";
import { milliseconds } from "./numbers.js";

const STAGES = ["queue", "encode", "shortlist", "gather", "prefilter", "refine", "match", "rerank"];

/** Fill the figure with a search's timings in milliseconds; hide it where there are none. */
export function showTimings(figure, timings) {
  const total = timings?.total ?? 0;
  figure.hidden = !(total > 0);
  if (figure.hidden) return;
  const reached = STAGES.filter((stage) => timings[stage] !== undefined);
  const parts = reached.map((stage) => [stage, timings[stage]]);
  const rest = total - parts.reduce((sum, [, value]) => sum + value, 0);
  if (rest > 0.05) parts.push(["other", rest]);
  const bar = parts.map(([stage, value]) =>
    styled(element("span", { class: `stage ${stage}` }), "--part", value),
  );
  const legend = parts.map(([stage, value]) =>
    element("div", { class: `stage ${stage}` }, element("dt", {}, stage), element("dd", {}, milliseconds(value))),
  );
  figure.replaceChildren(
    element("figcaption", { class: "unseen" }, `Stages of the search, ${milliseconds(total)} in all`),
    element("div", { class: "stages", "aria-hidden": "true" }, bar),
    element("dl", {}, legend),
  );
}
