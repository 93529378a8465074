// Asks for the API key, once for all requests that wait for it.

import { byId } from "./dom.js";
import * as key from "./key.js";

let asking = null;

/** Whether a key was given; what was refused before is told. */
export function askForKey(refused) {
  asking ??= asked(refused).finally(() => {
    asking = null;
  });
  return asking;
}

function asked(refused) {
  const dialog = byId("key-dialog");
  const input = byId("key");
  dialog.querySelector(".refused").textContent = refused ? "The server does not know this key." : "";
  input.value = "";
  dialog.returnValue = "";
  return new Promise((resolve) => {
    const form = dialog.querySelector("form");
    const done = new AbortController();
    const on = (target, event, handle) =>
      target.addEventListener(event, handle, { signal: done.signal });
    on(form, "submit", (event) => {
      event.preventDefault();
      key.keep(input.value.trim());
      dialog.close("given");
    });
    on(dialog.querySelector("[data-cancel]"), "click", () => dialog.close(""));
    on(dialog, "close", () => {
      done.abort();
      resolve(dialog.returnValue === "given");
    });
    dialog.showModal();
    input.focus();
  });
}
