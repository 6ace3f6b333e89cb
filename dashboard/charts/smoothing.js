/** Smooth curves that do not lag: means over a window that reaches as far ahead as back. */

/**
 * The mean of `y` within `width` of each `x` (ascending; in factors of ten where `log`), taken
 * twice, so that no point counts abruptly. Null where a value is not finite, and over those.
 */
export function smoothed(x, y, width, log = false) {
  if (!(width > 0)) return y;
  const at = log ? x.map(Math.log10) : x;
  return pass(at, pass(at, y, width), width);
}

function pass(at, y, width) {
  const sums = [0];
  const counts = [0];
  for (const value of y) {
    sums.push(sums.at(-1) + (value ?? 0));
    counts.push(counts.at(-1) + (value === null ? 0 : 1));
  }
  let [from, to] = [0, 0];
  return y.map((value, index) => {
    while (at[from] < at[index] - width) from++;
    while (to < at.length && at[to] <= at[index] + width) to++;
    if (value === null) return null;
    // as far on one side as on the other, or the ends would bend
    const reach = Math.min(index - from, to - 1 - index);
    const [first, end] = [index - reach, index + reach + 1];
    const number = counts[end] - counts[first];
    return number ? (sums[end] - sums[first]) / number : null;
  });
}

/** The median of several curves at the places of the longest; null where fewer than half are. */
export function pointwiseMedian(curves) {
  const longest = curves.reduce((a, b) => (b.x.length > a.x.length ? b : a));
  const lookups = curves.map((curve) => new Map(curve.x.map((at, index) => [at, curve.y[index]])));
  const y = longest.x.map((at) => {
    // one that has stopped or is not finite counts as infinitely high
    const values = lookups.map((lookup) => lookup.get(at) ?? Infinity).sort((a, b) => a - b);
    const half = values.length >> 1;
    const middle = values.length % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
    return Number.isFinite(middle) ? middle : null;
  });
  return { x: longest.x, y };
}
