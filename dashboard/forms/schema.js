/** JSON Schemas as forms see them: no references, unions flat, the branch that a value follows. */

import { at, isObject } from "./pointers.js";

/** A schema with every `$ref` replaced by what `root` has there. */
export function dereferenced(node, root, seen = new Map()) {
  if (Array.isArray(node)) return node.map((each) => dereferenced(each, root, seen));
  if (!isObject(node)) return node;
  const { $ref, $defs, ...beside } = node;
  if ($ref === undefined)
    return Object.fromEntries(
      Object.entries(beside).map(([key, each]) => [key, dereferenced(each, root, seen)]));
  if (!seen.has($ref)) {
    const made = {}; // known before it is filled: a schema may lead back to itself
    seen.set($ref, made);
    Object.assign(made, dereferenced(at(root, $ref.slice(1)), root, seen));
  }
  return Object.keys(beside).length ? { ...seen.get($ref), ...beside } : seen.get($ref);
}

const flat = (schema) => (schema.oneOf ?? schema.anyOf)?.flatMap(flat) ?? [schema];

/** What a value may be: the branches of a union (else one), and whether it may be null. */
export function shapeOf(schema) {
  const all = flat(schema);
  const options = all.filter((each) => each.type !== "null");
  const { discriminator, description, default: fallback } = schema;
  return {
    options,
    nullable: options.length < all.length,
    by: discriminator?.propertyName,
    description: description ?? (options.length === 1 ? options[0].description : undefined),
    fallback: fallback ?? (options.length === 1 ? options[0].default : undefined),
  };
}

/** What tells a branch from the others: its discriminator's value. */
export const nameOf = (option, by) => option.properties?.[by]?.const;

/** `max_lr` as a label. */
export function words(name) {
  const text = String(name).replaceAll("_", " ");
  return text[0] ? text[0].toUpperCase() + text.slice(1) : text;
}

/** The one property of an object that has no more, with its schema; null for all else. */
export function only(option) {
  const entries = Object.entries(option.properties ?? {});
  return entries.length === 1 ? entries[0] : null;
}

const scalar = (schema) =>
  ["number", "integer", "string"].includes(schema.type) && !schema.enum && !("const" in schema);

/** Whether a union is a number or text in one of several units, as `3` or `{"epochs": 3}`. */
export const isMeasure = ({ options }) =>
  options.length > 1 &&
  options.every((each) => scalar(each) || (only(each) && scalar(only(each)[1])));

/** A branch in words. */
export function labelOf(option, { by, options }) {
  if (option.label) return option.label;
  if (by) return words(nameOf(option, by));
  if ("const" in option) return words(option.const);
  const one = only(option);
  if (one) return one[0].replaceAll("_", " ");
  if (option.type === "integer" && options.some((each) => only(each)?.[0] === "epochs"))
    return "iterations"; // which a count is in unless it says otherwise
  return option.type === "object" ? words(option.title ?? "object") : option.type ?? "value";
}

export const typeOf = (value) => {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return Number.isInteger(value) ? "integer" : typeof value;
};

function likeness(option, value) {
  if ("const" in option) return option.const === value ? 2 : -1;
  const type = typeOf(value);
  if (option.type && option.type !== type && !(option.type === "number" && type === "integer"))
    return -1;
  if (type !== "object") return 1;
  const known = Object.keys(value).filter((key) => key in (option.properties ?? {}));
  return 1 + known.length - (Object.keys(value).length - known.length) / 1e5;
}

/** The branch that a value follows; `chosen` where the value does not say; -1 where none does. */
export function branchOf({ options, by }, value, chosen) {
  if (value === undefined) return -1;
  if (by) return options.findIndex((each) => nameOf(each, by) === value?.[by]);
  const scores = options.map((each) => likeness(each, value));
  const best = Math.max(...scores);
  if (best < 0) return -1;
  return scores[chosen] >= best ? chosen : scores.indexOf(best);
}

export const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** A value without the parts that are what they would be if left out. */
export function trimmed(value, schema) {
  const shape = shapeOf(schema);
  const option = shape.options[Math.max(0, branchOf(shape, value))];
  if (Array.isArray(value) && option.items)
    return value.map((each) => trimmed(each, option.items));
  if (!isObject(value) || !option.properties) return value;
  const kept = Object.entries(value).flatMap(([key, each]) => {
    const property = option.properties[key];
    if (!property || option.required?.includes(key) || key === shape.by) {
      return [[key, property ? trimmed(each, property) : each]];
    }
    const { fallback } = shapeOf(property);
    const usual = each === null ? (fallback ?? null) === null : same(each, fallback);
    const short = trimmed(each, property);
    const empty = isObject(short) && Object.keys(short).length === 0 && !shapeOf(property).nullable;
    return usual || empty ? [] : [[key, short]];
  });
  return Object.fromEntries(kept);
}
