// The page: what is asked goes into the address, what is in the address is asked.

import { read, write } from "./address.js";
import { byId, element } from "./dom.js";
import { asked, fitForm, noPicture, showAsked } from "./form.js";
import { arrowsMove, linkOf, showHits } from "./hits.js";
import * as key from "./key.js";
import { Matched } from "./matched.js";
import { noProblem, notice, problem } from "./notice.js";
import { count, counted, milliseconds } from "./numbers.js";
import { patiently } from "./patient.js";
import { readPicture, takePictures } from "./picture_query.js";
import { showTimings } from "./timings.js";

let model = null; // what the server has and takes
let found = null; // the search that is shown
let searching = null; // aborts the search that runs
const pictures = new Map(); // those that were searched with, by the names that the history has

const picked = () => pictures.get(history.state?.picture) ?? null;
const dialog = new Matched(moved, closed);

async function start() {
  noProblem();
  try {
    const { data } = await patiently("v1/models");
    [model] = data;
  } catch (error) {
    problem(error, start);
    return;
  }
  byId("forget-key").hidden = key.kept() === null;
  fitForm(model);
  showGallery(model.gallery);
  show();
}

/** Show what the address asks for. */
async function show() {
  const wanted = read(location.search);
  const picture = picked();
  showAsked(wanted, picture);
  document.title = [picture?.name ?? wanted.query, "itr-deploy"].filter(Boolean).join(" · ");
  if (model === null) return;
  const name = JSON.stringify([wanted.query, wanted.k, wanted.where, wanted.rerank, picture?.name, history.state?.picture]);
  if (found?.name !== name && !(await search(wanted, picture, name))) return;
  openOrClose(wanted);
}

function openOrClose({ hit }) {
  const place = found.hits.findIndex(({ id }) => id === hit);
  if (place >= 0) dialog.open(found, place);
  else if (dialog.isOpen) dialog.close();
  if (hit !== null && place < 0) notice(`${hit} is not among these hits.`);
}

/** Search; whether it is the search that is now shown. */
async function search(wanted, picture, name) {
  searching?.abort();
  const mine = new AbortController();
  searching = mine;
  found = null;
  dialog.dismiss();
  noProblem();
  notice();
  const lost = picture === null && (history.state?.picture ?? null) !== null;
  if (lost || (picture === null && wanted.query === "")) {
    clear(lost ? "A picture is not part of a link. Choose it again to search with it." : intro());
    return false;
  }
  byId("results").setAttribute("aria-busy", "true");
  try {
    const answer = await patiently("v1/search", { body: bodyOf(wanted, picture), signal: mine.signal });
    found = { name, hits: answer.hits, query: picture ? null : wanted.query, model };
    showAnswer(answer, wanted);
    return true;
  } catch (error) {
    if (mine.signal.aborted) return false;
    clear("");
    problem(error, () => show());
    return false;
  } finally {
    if (searching === mine) byId("results").removeAttribute("aria-busy");
  }
}

function bodyOf({ query, k, where, rerank }, picture) {
  return {
    ...(picture ? { image: picture.uri } : { query }),
    k,
    ...(where ? { where } : {}),
    ...(rerank && model.reranks ? { rerank } : {}),
  };
}

function clear(text) {
  found = null;
  byId("results").removeAttribute("aria-busy");
  byId("summary").replaceChildren(text);
  byId("hits").replaceChildren();
  showTimings(byId("timings"), null);
}

function intro() {
  const { takes, explains } = model;
  if (!takes.text) return "";
  return `Describe what you look for.${explains ? " Then open a hit to see which words matched which of its regions." : ""}`;
}

function showAnswer({ hits, gallery, timings_ms: timings, partial, unknown_words: unknown }, wanted) {
  Object.assign(model.gallery, gallery);
  showGallery(model.gallery);
  const things = model.gallery.modality === "text" ? "text" : "picture";
  const of = counted(gallery.count, things);
  byId("summary").replaceChildren(
    element("strong", {}, hits.length ? counted(hits.length, "hit") : "No hits"),
    hits.length || !wanted.where
      ? ` of ${of} in ${milliseconds(timings.total)}.`
      : `: the filter keeps none of ${of}.`,
    partial ? " Some parts of the gallery did not answer." : "",
    ...(unknown?.length ? [element("span", { class: "unknown" }, ` The model does not know: ${unknown.join(", ")}.`)] : []),
  );
  showTimings(byId("timings"), timings);
  const about = { pictures: model.pictures, modality: model.gallery.modality };
  showHits(byId("hits"), hits, about, (id) => write({ ...wanted, hit: id }));
}

function showGallery({ count: items, version, modality }) {
  const things = modality === "text" ? "texts" : "pictures";
  byId("gallery").textContent = `${model.id} (${model.family}) · ${count(items)} ${things} · version ${version}`;
}

/** Ask something new: a step of the history. */
function go(wanted, picture = null) {
  const address = write(wanted);
  const state = { picture, opened: wanted.hit !== null };
  if (address === location.search && picture === (history.state?.picture ?? null)) {
    found = null; // asked again: searched again
    history.replaceState(state, "", address);
  } else {
    history.pushState(state, "", address);
  }
  show();
}

async function takePicture(file) {
  if (model === null) return;
  if (!model.takes.picture) {
    notice(noPicture(model));
    return;
  }
  if (!file) return;
  try {
    const uri = await readPicture(file, model.limits.max_body);
    // Of this load of the page: the history outlives it, the pictures do not.
    const known = `${performance.timeOrigin}/${pictures.size}`;
    pictures.set(known, { uri, name: file.name });
    go({ ...asked(), query: "" }, known);
  } catch {
    problem({ message: `${file.name} cannot be read as a picture`, hint: "Choose a JPEG, PNG or WebP file." });
  }
}

function moved(place) {
  const wanted = { ...read(location.search), hit: found.hits[place].id };
  history.replaceState(history.state, "", write(wanted));
}

function closed(place) {
  linkOf(byId("hits"), place)?.focus();
  if (read(location.search).hit === null) return;
  if (history.state?.opened) history.back();
  else history.replaceState(history.state, "", write({ ...read(location.search), hit: null }));
}

byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = asked();
  if (wanted.query || picked()) go(wanted, history.state?.picture ?? null);
  else byId("query").focus();
});
byId("picked").querySelector("button").addEventListener("click", () => {
  go({ ...asked(), query: "" });
  byId("query").focus();
});
byId("hits").addEventListener("click", (event) => {
  const link = event.target.closest("a.hit");
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(read(new URL(link.href).search), history.state?.picture ?? null);
});
byId("forget-key").addEventListener("click", () => {
  key.forget();
  location.reload();
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "/" && !typing && !document.querySelector("dialog[open]")) {
    event.preventDefault();
    byId("query").focus();
  }
});
window.addEventListener("popstate", () => show());
takePictures((file) => takePicture(file));
arrowsMove(byId("hits"));
start();
