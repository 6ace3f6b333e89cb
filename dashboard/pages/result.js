/** Every number of a result under the path to it, as the API names it. */

import { el } from "../dom.js";
import { short } from "../numbers.js";

const isObject = (value) => value !== null && typeof value === "object";

/** Rows for a list of terms. */
export function rowsOf(value, path = "") {
  const under = (key) => (path ? `${path}.${key}` : key);
  const nested = Array.isArray(value) ? value.some(isObject) : isObject(value);
  if (nested)
    return Object.entries(value)
      .filter(([key]) => key !== "schedules") // the suggestion once more, to paste
      .flatMap(([key, each]) => rowsOf(each, under(key)));
  const values = Array.isArray(value) ? value : [value];
  const said = (each) => (typeof each === "number" || each === null ? short(each) : String(each));
  const words = values.map(said).join(" … ");
  return [el("div", {}, el("dt", {}, path), el("dd", { title: JSON.stringify(value) }, words))];
}
