// Requests that wait: for a server that is busy or still loading, and for a key.

import { ServerError, ask } from "./http.js";
import { askForKey } from "./key_dialog.js";
import * as key from "./key.js";
import { waiting } from "./notice.js";

const TRIES = 10;
const LONGEST = 30; // seconds between two tries, whatever the server says

/** Ask until the server answers, as often and as late as its Retry-After says. */
export async function patiently(path, options = {}) {
  for (let tries = 1; ; tries += 1) {
    const sent = key.kept();
    try {
      return await ask(path, options);
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      if (error.status === 401) {
        // Another request may have got a key meanwhile.
        if (key.kept() === sent && !(await askForKey(sent !== null))) throw error;
      } else if ([429, 503].includes(error.status) && error.wait !== null && tries < TRIES) {
        await waiting(error, Math.min(error.wait, LONGEST), options.signal);
      } else {
        throw error;
      }
    }
  }
}
