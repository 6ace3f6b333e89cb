/** Which points a crosshair speaks of, and in which words. */

import { short } from "../numbers.js";

const NEAR = 12; // px between the crosshair and a point it still speaks of
const EXACT = 9; // significant digits that tell any two floats of 32 bits apart

/** The index of the value nearest to `target` in an ascending list, in pixels of `x`. */
export function closest(values, target, x) {
  let [low, high] = [0, values.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (values[middle] < target) low = middle;
    else high = middle;
  }
  const off = (index) => Math.abs(x.at(values[index]) - x.at(target));
  return off(low) <= off(high) ? low : high;
}

/** The points next to `target`, one of each curve that has one near, the nearest first. */
export function nearest(curves, target, x) {
  const hits = curves
    .filter((curve) => curve.x.length)
    .map((curve) => {
      const index = closest(curve.x, target, x);
      return { curve, index, off: Math.abs(x.at(curve.x[index]) - x.at(target)) };
    });
  hits.sort((a, b) => a.off - b.off);
  const at = (hit) => x.at(hit.curve.x[hit.index]);
  return hits.filter((hit) => Math.abs(at(hit) - at(hits[0])) <= NEAR);
}

/** The values of the points of one entry of the legend, and where, if not at the crosshair. */
export function reading(points, position) {
  if (!points.length) return "";
  const values = points.map(({ curve, index }) => curve.y[index]);
  const at = points[0].curve.x[points[0].index];
  const where = at === position ? "" : ` at ${exact(at)}`;
  if (values.includes(null)) return `not finite${where}`;
  const ends = values.length > 1 ? [Math.min(...values), Math.max(...values)] : values;
  return ends.map(exact).join(" … ") + where;
}

export const exact = (value) => short(value, EXACT);
