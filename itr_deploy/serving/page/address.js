// What is asked, in the page's address: a link shows the same search, and the same hit opened.

export const HITS = 12;

/** query, k, where, rerank and hit of an address's search part. */
export function read(search) {
  const given = new URLSearchParams(search);
  const k = Number.parseInt(given.get("k") ?? "", 10);
  return {
    query: given.get("query") ?? "",
    k: k > 0 ? k : HITS,
    where: given.get("where") ?? "",
    rerank: given.get("rerank") === "1",
    hit: given.get("hit"),
  };
}

/** The address of what is asked, relative to the page. */
export function write({ query, k, where, rerank, hit }) {
  const given = new URLSearchParams();
  if (query) given.set("query", query);
  given.set("k", k);
  if (where) given.set("where", where);
  if (rerank) given.set("rerank", "1");
  if (hit !== null && hit !== undefined) given.set("hit", hit);
  return `?${given}`;
}
