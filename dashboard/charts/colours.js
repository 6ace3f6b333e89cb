/** Colours for curves: told apart where values are names, in order where they are numbers. */

/** After Okabe and Ito, and of a lightness that both themes bear. */
const APART = [
  "#2b83c6", "#d5712e", "#1f9d78", "#a77bd0", "#c0a000", "#cf5c8d", "#4fa3a8", "#7d6b5d",
];
const NONE = "#8a8f98"; // of what has no value

/** From low to high: after plasma, which any colour vision orders, its darkest end left out. */
const ORDER = [[104, 90, 225], [176, 80, 190], [221, 90, 115], [236, 135, 60], [214, 176, 30]];

/** A colour for each value; `names` says that they are mere names. */
export function coloursOf(values, names = false) {
  const given = values.filter((value) => value !== null);
  const numbers = given.every((value) => typeof value === "number");
  const known = [...new Set(given.map((value) => JSON.stringify(value)))];
  if (names || !numbers || known.length < 3) {
    const place = (value) => known.indexOf(JSON.stringify(value));
    return values.map((value) => (value === null ? NONE : APART[place(value) % APART.length]));
  }
  const [low, high] = [Math.min(...given), Math.max(...given)];
  const bend = low > 0 && high / low >= 10 ? Math.log : Number;
  const share = (value) => (bend(value) - bend(low)) / (bend(high) - bend(low));
  return values.map((value) => (value === null ? NONE : between(share(value))));
}

/**
 * Each number's place among the different ones, the last where `direction` says best: a few that
 * are far away leave the others their colours.
 */
export function placesOf(values, direction = "maximize") {
  if (!values.every((value) => value === null || typeof value === "number")) return values;
  const sign = direction === "maximize" ? 1 : -1;
  const order = [...new Set(values)].filter((value) => value !== null).sort((a, b) => sign * (a - b));
  const places = new Map(order.map((value, place) => [value, place]));
  return values.map((value) => places.get(value) ?? null);
}

function between(share) {
  const at = share * (ORDER.length - 1);
  const index = Math.min(ORDER.length - 2, Math.floor(at));
  const mixed = ORDER[index].map((from, channel) =>
    Math.round(from + (at - index) * (ORDER[index + 1][channel] - from)));
  return `rgb(${mixed.join(" ")})`;
}
