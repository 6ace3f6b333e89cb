/** What a value keeps when another branch of its union is chosen. */

import { faultsOf } from "./check.js";
import { isObject } from "./pointers.js";
import { shapeOf } from "./schema.js";

/** Fields that mean nearly the same in different schedules, so that the next one can be drawn. */
const ALIKE = { lr: "max_lr", max_lr: "lr", step_size: "t_0", t_0: "step_size" };

/** A value to begin a branch with: what it had `before`, and what fits of the `old` branch. */
export function begun(option, by, old, before) {
  if ("const" in option) return option.const;
  if (option.type === "array") return before ?? [];
  if (!option.properties) return before;
  const name = by ? { [by]: option.properties[by].const } : {};
  return { ...name, ...(isObject(before) ? before : {}), ...fitting(old, option, by) };
}

function fitting(old, option, by) {
  if (!isObject(old)) return {};
  const found = {};
  for (const [name, schema] of Object.entries(option.properties)) {
    const value = old[name] ?? (option.required?.includes(name) ? old[ALIKE[name]] : undefined);
    if (name === by || value === undefined) continue;
    const { options } = shapeOf(schema);
    const parts = options.length === 1 && options[0].properties && isObject(value);
    const next = parts ? fitting(value, options[0]) : value;
    const empty = parts && Object.keys(next).length === 0;
    if (!empty && faultsOf(next, schema).length === 0) found[name] = structuredClone(next);
  }
  return found;
}
