/** Smooth curves that do not lag: straight lines through what is near, ahead as well as behind. */

/**
 * At each `x` (ascending; in factors of ten where `log`) what the line of least squares through
 * the points within `width` says, taken twice, so that no point counts abruptly. Null where a
 * value is not finite.
 */
export function smoothed(x, y, width, log = false) {
  if (!(width > 0)) return y;
  const at = log ? x.map(Math.log10) : x;
  return pass(at, pass(at, y, width), width);
}

function pass(at, y, width) {
  const sums = sumsOf(at, y);
  let [from, to] = [0, 0];
  return y.map((value, index) => {
    while (at[from] < at[index] - width) from++;
    while (to < at.length && at[to] <= at[index] + width) to++;
    if (value === null) return null;
    const [n, x, z, xx, xz] = sums.map((sum) => sum[to] - sum[from]);
    const spread = n * xx - x * x;
    if (!(spread > 1e-9 * n * xx)) return z / n;
    return (z + ((n * xz - x * z) / spread) * (n * (at[index] - at[0]) - x)) / n;
  });
}

/** How many points there are before each, and the sums of x, y, x*x and x*y; x from the first. */
function sumsOf(at, y) {
  const sums = Array.from({ length: 5 }, () => [0]);
  y.forEach((value, index) => {
    const x = at[index] - at[0];
    const terms = value === null ? [0, 0, 0, 0, 0] : [1, x, value, x * x, x * value];
    terms.forEach((term, kind) => sums[kind].push(sums[kind][index] + term));
  });
  return sums;
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
