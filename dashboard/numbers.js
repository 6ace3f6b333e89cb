/** Numbers and times as people read them, and scales with sensible ticks. */

/** Up to `digits` significant digits, as JSON would take them. */
export function short(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6))
    return value.toExponential(digits - 1).replace(/\.?0+e/, "e").replace("e+", "e");
  return String(Number(value.toPrecision(digits)));
}

export const count = (value) => value.toLocaleString("en");
export const percent = (value) => `${short(100 * value)} %`;

export function duration(seconds) {
  for (const [unit, length] of [["d", 86_400], ["h", 3_600], ["min", 60]])
    if (seconds >= 2 * length) return `${Math.floor(seconds / length)} ${unit}`;
  return `${Math.max(0, seconds).toFixed(Number.isInteger(seconds) || seconds >= 9.95 ? 0 : 1)} s`;
}

export const secondsBetween = (from, to) =>
  ((to === null ? Date.now() : Date.parse(to)) - Date.parse(from)) / 1000;

/** A map from values within `limits` to pixels, and back, linear or logarithmic. */
export function scale(log, limits, [start, end]) {
  const bend = log ? Math.log10 : Number;
  const low = bend(limits[0]);
  const span = bend(limits[1]) - low || 1;
  const place = (pixel) => low + ((pixel - start) / (end - start)) * span;
  return {
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
