// One request to the server: JSON, or a ServerError with its message.

import * as key from "./key.js";

/** What a server refused, or that it could not be reached (status 0). */
export class ServerError extends Error {
  constructor(status, { code = "", message, hint = null, request_id = null }, wait = null) {
    super(message);
    Object.assign(this, { status, code, hint, request: request_id, wait });
  }
}

/** Ask once; a body makes it a POST. */
export async function ask(path, { body, signal } = {}) {
  const answer = await fetched(path, {
    method: body === undefined ? "GET" : "POST",
    headers: { ...key.headers(), ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal,
  });
  const told = await answer.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    return null;
  });
  if (answer.ok && told !== null) return told;
  throw new ServerError(answer.status, told?.error ?? unexpected(answer), seconds(answer));
}

/** The path below which the server has an item of the gallery, whatever its id contains. */
export const itemPath = (id) => `v1/items/${encodeURIComponent(id)}`;

/** A picture's content, for servers that ask for a key. */
export async function content(path, signal) {
  const answer = await fetched(path, { headers: key.headers(), signal });
  if (!answer.ok) throw new ServerError(answer.status, unexpected(answer));
  return answer.blob();
}

async function fetched(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError(0, {
      message: "The server cannot be reached.",
      hint: "Check that it runs and that this device is connected.",
    });
  }
}

const unexpected = ({ status, statusText }) => ({
  message: `The server answered ${status} ${statusText}`.trim() + ".",
});

/** Retry-After in seconds; null where the server does not ask to come again. */
function seconds(answer) {
  const given = answer.headers.get("Retry-After");
  if (given === null) return null;
  const wait = Number.isNaN(Number(given)) ? (Date.parse(given) - Date.now()) / 1000 : Number(given);
  return Number.isFinite(wait) ? Math.max(0, wait) : null;
}
