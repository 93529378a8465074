// Boxes over a picture: what is lit stays bright and is framed, the rest is dimmed.

import { element, styled, svg } from "./dom.js";
import { regionAt } from "./lighting.js";

/** The picture with its overlay, `draw` to light regions, and `regionOf` a pointer's event. */
export function overlaid(image, boxes, size) {
  const [width, height] = size;
  const drawing = svg("svg", {
    viewBox: `0 0 ${width} ${height}`,
    preserveAspectRatio: "none",
    "aria-hidden": "true",
  });
  const label = element("span", { class: "label", "aria-hidden": "true", hidden: true });
  const frame = element("div", { class: "picture" }, image, drawing, label);
  styled(frame, "--wide", width / height);

  /** Light regions, strongest first: {region, share}. The first is labelled. */
  function draw(lit, text) {
    const there = lit.filter(({ region }) => boxes[region]);
    drawing.replaceChildren(...(there.length ? lights(there, boxes, width, height) : []));
    label.hidden = !there.length;
    if (there.length) place(label, text, boxes[there[0].region], size);
  }

  function regionOf(event) {
    const area = frame.getBoundingClientRect();
    const x = ((event.clientX - area.left) / area.width) * width;
    const y = ((event.clientY - area.top) / area.height) * height;
    return regionAt(boxes, x, y);
  }

  return { frame, draw, regionOf };
}

function lights(lit, boxes, width, height) {
  const whole = { width, height };
  const faintestFirst = lit.toReversed();
  const mask = svg(
    "mask",
    { id: "dimmed", maskUnits: "userSpaceOnUse", x: 0, y: 0, ...whole },
    svg("rect", { ...whole, fill: "#fff" }),
    faintestFirst.map(({ region, share }) =>
      svg("rect", { ...rectangle(boxes[region]), fill: "#000", "fill-opacity": share }),
    ),
  );
  const boxesDrawn = faintestFirst.map(({ region, share }) =>
    svg(
      "g",
      { class: "box", opacity: share.toFixed(3), "data-region": region },
      svg("rect", { ...rectangle(boxes[region]), class: "halo" }),
      svg("rect", { ...rectangle(boxes[region]), class: "line" }),
    ),
  );
  return [mask, svg("rect", { ...whole, class: "dim", mask: "url(#dimmed)" }), ...boxesDrawn];
}

function rectangle([left, top, right, bottom]) {
  return { x: left, y: top, width: right - left, height: bottom - top };
}

/** The label stands on its box, or within it where there is no room above; always in the picture. */
function place(label, text, [left, top, right], [width, height]) {
  label.textContent = text;
  const fromRight = left > width / 2;
  label.classList.toggle("right", fromRight);
  label.classList.toggle("within", top < 0.12 * height);
  styled(label, "--x", fromRight ? Math.max(0, 1 - right / width) : Math.max(0, left / width));
  styled(label, "--y", Math.max(0, top / height));
}
