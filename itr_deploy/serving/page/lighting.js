// What lights up: the regions of a word, the words of a region. Weights are [words][regions].

const MOST_REGIONS = 6;
const LEAST_SHARE = 0.15; // of the largest weight; what has less stays dark

/** The regions that light up for a word, strongest first, with their weight and its share. */
export function regionsOf(attention, word) {
  const weights = attention[word];
  const largest = Math.max(...weights);
  if (!(largest > 0)) return [];
  return weights
    .map((weight, region) => ({ region, weight, share: weight / largest }))
    .sort((one, other) => other.weight - one.weight)
    .slice(0, MOST_REGIONS)
    .filter(({ share }) => share >= LEAST_SHARE);
}

/** How much each word and a region found each other, in the order of the words. */
export function wordsOf(attention, region) {
  const weights = attention.map((row) => row[region]);
  const largest = Math.max(...weights);
  return weights.map((weight, word) => ({ word, weight, share: largest > 0 ? weight / largest : 0 }));
}

/** How well each word is matched, as a share of the best. */
export function relevances(words) {
  const best = Math.max(...words.map(({ relevance }) => relevance));
  return words.map(({ relevance }) => (best > 0 ? Math.max(0, relevance) / best : 0));
}

/** A token that the model adds, such as <start> or [CLS]. */
export const isMark = (text) => /^(<[a-z]+>|\[[A-Z]+\])$/.test(text);

/** The word that is lit at first: matched well, and at few places. */
export function tellingWord({ words, attention }) {
  const worth = words.map(({ text, relevance }, word) =>
    isMark(text) ? -Infinity : relevance * Math.max(...attention[word]),
  );
  return worth.indexOf(Math.max(...worth));
}

/** Where a box is in its picture, in words: "top left". */
export function whereabouts([left, top, right, bottom], [width, height]) {
  const third = (value, whole) => Math.min(2, Math.max(0, Math.floor((3 * value) / whole)));
  const column = ["left", "", "right"][third((left + right) / 2, width)];
  const row = ["top", "", "bottom"][third((top + bottom) / 2, height)];
  return [row, column].filter(Boolean).join(" ") || "middle";
}

/** The smallest box that holds a point of the picture; null for none. */
export function regionAt(boxes, x, y) {
  let found = null;
  let least = Infinity;
  boxes.forEach((box, region) => {
    if (box === null) return;
    const [left, top, right, bottom] = box;
    const area = (right - left) * (bottom - top);
    if (x >= left && x <= right && y >= top && y <= bottom && area < least) {
      found = region;
      least = area;
    }
  });
  return found;
}
