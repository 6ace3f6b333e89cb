/** Numbers and times as people read them. */

/** Up to `digits` significant digits, as JSON would take them. */
export function short(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6))
    return value.toExponential(digits - 1).replace(/\.?0+e/, "e").replace("e+", "e");
  return String(Number(value.toPrecision(digits)));
}

export const count = (value) => value.toLocaleString("en");

export function bytes(value) {
  const at = Math.min(5, Math.floor(Math.log10(Math.max(1, value)) / 3));
  return `${short(value / 1000 ** at, 3)} ${["bytes", "kB", "MB", "GB", "TB", "PB"][at]}`;
}

export const percent = (value) => `${short(100 * value)} %`;

export function duration(seconds) {
  for (const [unit, length] of [["d", 86_400], ["h", 3_600], ["min", 60]])
    if (seconds >= 2 * length) return `${Math.floor(seconds / length)} ${unit}`;
  return `${Math.max(0, seconds).toFixed(Number.isInteger(seconds) || seconds >= 9.95 ? 0 : 1)} s`;
}

export const secondsBetween = (from, to) =>
  ((to === null ? Date.now() : Date.parse(to)) - Date.parse(from)) / 1000;
