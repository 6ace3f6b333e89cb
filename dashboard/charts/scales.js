/** Scales from values to pixels with sensible ticks, and limits that show what matters. */

import { short } from "../numbers.js";

/** A map from values within `limits` to pixels, and back, linear or logarithmic. */
export function scale(log, limits, [start, end]) {
  const bend = log ? Math.log10 : Number;
  const low = bend(limits[0]);
  const span = bend(limits[1]) - low || 1;
  const place = (pixel) => low + ((pixel - start) / (end - start)) * span;
  return {
    log,
    limits,
    at: (value) => start + ((bend(value) - low) / span) * (end - start),
    value: (pixel) => (log ? 10 ** place(pixel) : place(pixel)),
    ticks: (most) => (log && span >= 1 ? decades(...limits, most) : steps(...limits, most)),
  };
}

function steps(from, to, most) {
  const rough = (to - from) / most || 1;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = size * [1, 2, 5, 10].find((each) => each * size >= rough * 0.999);
  const first = Math.ceil(from / step - 1e-6);
  const last = Math.floor(to / step + 1e-6);
  return Array.from({ length: last - first + 1 }, (_, index) => {
    const value = (first + index) * step;
    return { value, label: short(value, 12) };
  });
}

function decades(from, to, most) {
  const [first, last] = [Math.floor(Math.log10(from)), Math.ceil(Math.log10(to))];
  const every = Math.ceil((last - first) / most);
  const labelled = last - first <= 2 ? [1, 2, 5] : [1];
  const ticks = [];
  for (let decade = first; decade <= last; decade++)
    for (let digit = 1; digit < 10; digit++) {
      const value = Number(`${digit}e${decade}`);
      if (value < from * 0.999 || value > to * 1.001 || (digit > 1 && every > 1)) continue;
      const named = labelled.includes(digit) && decade % every === 0;
      ticks.push({ value, label: named ? short(value) : "" });
    }
  return ticks;
}

/** Smallest and largest finite value; the first is the larger where there is none. */
export function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value === null) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** The values of curves that lie within `[from, to]` of x. */
export function visible(curves, [from, to]) {
  return curves.map((curve) => {
    const kept = [];
    for (let index = 0; index < curve.x.length; index++)
      if (curve.x[index] >= from && curve.x[index] <= to) kept.push(curve.y[index]);
    return kept;
  });
}

/** Limits around all values, with `always` among them; positive ones where `log`. */
export function around(lists, { always = [], log = false } = {}) {
  const counts = (value) => value !== null && (!log || value > 0);
  const [low, high] = extent([...always, ...lists.flat()].filter(counts));
  if (low > high) return log ? [0.1, 1] : [0, 1];
  if (log) return [low / 1.15, high * 1.15];
  const margin = 0.05 * (high - low) || 0.05 * Math.abs(high) || 1;
  return [always.includes(low) ? low : low - margin, high + margin];
}

/**
 * The losses that matter: above the start by more than half of the descent, a run diverges, and
 * its loss would flatten all the rest. `head` says how many values of `length` are the start;
 * `cut` is the highest loss where it lies above the limits, else null.
 */
export function lossLimits(lists, head, log = false) {
  const counts = (value) => value !== null && (!log || value > 0);
  const known = lists.map((values) => values.filter(counts)).filter((values) => values.length);
  const heads = known.map((values) => values.slice(0, Math.max(1, head(values.length))));
  const [lowest, highest] = extent(known.flat());
  if (!known.length) return { limits: log ? [0.1, 1] : [0, 1], cut: null };
  const start = median(heads.map(median)); // one that begins too high does not flatten others
  const drop = Math.max(start - lowest, 0.1 * Math.abs(start), 1e-12);
  const top = Math.min(highest, log ? 10 * start : start + 0.6 * drop);
  const limits = log ? [lowest * 0.9, top * 1.1] : [lowest - 0.08 * drop, top + 0.08 * drop];
  return { limits, cut: highest > limits[1] ? highest : null };
}

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted.length ? sorted[sorted.length >> 1] : -Infinity;
}
