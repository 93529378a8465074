// What the page tells above the results: notices, waiting, and what went wrong.

import { byId, element } from "./dom.js";

/** Tell something that is no error, in place of what was told before; nothing tells no more. */
export function notice(...children) {
  byId("notice").replaceChildren(...(children.length ? [element("p", {}, ...children)] : []));
}

/** Show what a server refused; where trying again may help, with a button that does. */
export function problem(error, again = null) {
  // What was asked is at fault, or the server is.
  const asked = error.status >= 400 && error.status < 500 && ![401, 408, 429].includes(error.status);
  const button = again && !asked && element("button", { type: "button" }, "Try again");
  if (button) button.addEventListener("click", again);
  byId("problem").replaceChildren(
    element(
      "div",
      { class: "problem" },
      element("p", {}, element("strong", {}, sentence(error.message))),
      error.hint ? element("p", {}, sentence(error.hint)) : null,
      error.request && error.status >= 500 ? element("p", { class: "hint" }, `Request ${error.request}`) : null,
      button || null,
    ),
  );
}

export const noProblem = () => byId("problem").replaceChildren();

/** Wait, telling why and for how long. A signal ends it, as does the button. */
export async function waiting(error, seconds, signal) {
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const left = element("span");
    const now = element("button", { type: "button", class: "plain" }, "Try now");
    let rest = Math.ceil(seconds);
    const tell = () => {
      left.textContent = ` Trying again in ${rest} s. `;
    };
    const end = (settle, value) => {
      clearInterval(clock);
      clearTimeout(alarm);
      notice();
      settle(value);
    };
    const clock = setInterval(() => {
      rest = Math.max(1, rest - 1);
      tell();
    }, 1000);
    const alarm = setTimeout(() => end(resolve), 1000 * seconds);
    now.addEventListener("click", () => end(resolve));
    signal?.addEventListener("abort", () => end(reject, signal.reason), { once: true });
    tell();
    // The seconds that pass are seen; a screen reader is told once.
    left.setAttribute("aria-live", "off");
    notice(sentence(error.message), left, now);
  });
}

/** A message of the library as a sentence of the page. */
export function sentence(text) {
  const trimmed = text.trim();
  const begun = /^[a-z]+ /.test(trimmed) ? trimmed[0].toUpperCase() + trimmed.slice(1) : trimmed;
  return /[.!?:]$/.test(begun) ? begun : `${begun}.`;
}
