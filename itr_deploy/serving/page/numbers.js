// Numbers and values as they are shown.

const COUNT = new Intl.NumberFormat("en");

export const count = (value) => COUNT.format(value);

export const counted = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;

/** Scores of different families have different ranges; four decimals tell close hits apart. */
export const score = (value) => fixed(value, 4);

export const relevance = (value) => fixed(value, 2);

const fixed = (value, digits) => value.toFixed(digits).replace("-", "\u2212");

export function milliseconds(value) {
  if (value >= 10000) return `${(value / 1000).toFixed(1)} s`;
  return `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}

/** A weight in percent, without the sign. */
export function percents(weight) {
  const value = 100 * weight;
  return value > 0 && value < 1 ? "<1" : `${Math.round(value)}`;
}

export const percent = (weight) => `${percents(weight)} %`;

/** A value of a column of the gallery, in words. */
export function shown(value) {
  if (value === null || value === undefined) return "–";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
