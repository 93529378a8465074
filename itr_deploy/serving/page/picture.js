// Pictures of items: by their address, or with the key as blobs, when they come into view.

import { element } from "./dom.js";
import { content, itemPath } from "./http.js";
import * as key from "./key.js";

/** An image element, which is replaced by a line of text if there is no such picture. */
export function picture(id, size, alt = "") {
  const path = `${itemPath(id)}/picture?size=${size}`;
  const image = element("img", { alt, decoding: "async", loading: "lazy", draggable: "false" });
  image.addEventListener("error", () => missing(image));
  image.addEventListener("load", () => image.classList.add("there"));
  if (key.kept() === null) {
    image.src = path;
  } else {
    coming.set(image, path);
    inView.observe(image);
  }
  return image;
}

const missing = (image) =>
  image.replaceWith(element("span", { class: "no-picture" }, "No picture"));

const coming = new WeakMap();
const inView = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) {
        inView.unobserve(target);
        load(target);
      }
    }
  },
  { rootMargin: "200px" },
);

async function load(image) {
  try {
    const address = URL.createObjectURL(await content(coming.get(image)));
    image.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
    image.src = address;
  } catch {
    missing(image);
  }
}
