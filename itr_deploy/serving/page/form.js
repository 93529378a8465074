// The form: what the server takes, what is asked, and what is shown of both.

import { byId, element } from "./dom.js";

const fields = () => ({
  query: byId("query"),
  where: byId("where"),
  k: byId("k"),
  rerank: byId("rerank"),
});

/** Fit the form to what the server takes. */
export function fitForm(model) {
  const { takes, gallery, limits } = model;
  const { query, k } = fields();
  const things = gallery.modality === "text" ? "texts" : "pictures";
  byId("query-label").textContent = `Search ${things}`;
  query.placeholder = takes.text
    ? `Describe the ${things} you look for`
    : takes.picture
      ? "Choose, paste or drop a picture"
      : "Searched with regions of pictures, through the API";
  query.readOnly = !takes.text;
  k.max = limits.max_k;
  byId("reranking").hidden = !model.reranks;
  byId("choose").setAttribute("aria-disabled", String(!takes.picture));
  byId("no-picture").hidden = takes.picture || takes.text;
  byId("no-picture").textContent = takes.picture ? "" : noPicture(model);
  byId("drop").firstElementChild.textContent = takes.picture
    ? "Drop a picture to search with it"
    : noPicture(model);
  showColumns(Object.entries(gallery.columns), gallery.modality);
}

/** Why the server takes no picture as query. */
export const noPicture = (model) => `No search by picture: ${model.no_picture_because ?? "it takes none"}.`;

const NUMBER = /int|float|double|decimal/;
const STRING = /string|utf8/;

function showColumns(columns, modality) {
  const named = [["id", ""], ...columns, ...(modality === "text" ? [["length", ""]] : [])];
  byId("columns").replaceChildren(
    "Columns: ",
    ...named.flatMap(([name, type], place) => [
      place ? ", " : "",
      element("code", {}, /^[a-z_][\w.]*$/i.test(name) ? name : `\`${name}\``),
      type ? ` ${type}` : "",
    ]),
  );
  const [name, type] = columns.find(([, kind]) => NUMBER.test(kind) || STRING.test(kind)) ?? ["id", "string"];
  fields().where.placeholder = NUMBER.test(type) ? `${name} > 2` : `${name} = '…'`;
}

/** Show what is asked. */
export function showAsked(asked, picked) {
  const { query, where, k, rerank } = fields();
  query.value = asked.query;
  where.value = asked.where;
  k.value = asked.k;
  rerank.checked = asked.rerank;
  showPicked(picked);
}

/** What is asked now. */
export function asked() {
  const { query, where, k, rerank } = fields();
  return {
    query: query.value.trim(),
    where: where.value.trim(),
    k: k.valueAsNumber,
    rerank: rerank.checked,
    hit: null,
  };
}

/** Show the picture that is searched with in place of the text; null for none. */
export function showPicked(picked) {
  const chip = byId("picked");
  chip.hidden = picked === null;
  byId("query").hidden = picked !== null;
  const [image, name] = chip.children;
  if (picked === null) image.removeAttribute("src");
  else image.src = picked.uri;
  name.textContent = picked?.name ?? "";
}
