// Requests that wait: for a server that is busy or still loading, and for a key.

import { ServerError, ask } from "./http.js";
import { askForKey } from "./key_dialog.js";
import * as key from "./key.js";
import { waiting } from "./notice.js";

const LONGEST = 30; // seconds between two tries, whatever the server says
const PATIENCE = 180; // seconds of waiting in all: a large gallery takes a while to load

/** Ask until the server answers, as late as its Retry-After says each time. */
export async function patiently(path, options = {}) {
  let left = PATIENCE;
  for (;;) {
    const sent = key.kept();
    try {
      return await ask(path, options);
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      if (error.status === 401) {
        // Another request may have got a key meanwhile.
        if (key.kept() === sent && !(await askForKey(sent !== null))) throw error;
      } else if ([429, 503].includes(error.status) && error.wait !== null && left > 0) {
        const wait = Math.min(Math.max(error.wait, 1), LONGEST);
        left -= wait;
        await waiting(error, wait, options.signal);
      } else {
        throw error;
      }
    }
  }
}
