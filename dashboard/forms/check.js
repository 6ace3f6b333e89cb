/** Checks a value against its JSON Schema, and says in words what is wrong where. */

import { below, isObject } from "./pointers.js";
import { branchOf, nameOf, shapeOf, typeOf } from "./schema.js";

const TYPES = {
  number: "a number", integer: "a whole number", string: "a text", boolean: "true or false",
  array: "a list", object: "an object",
};

/** `[{pointer, detail}]`, empty where nothing is wrong that a schema can tell. */
export function faultsOf(value, schema, pointer = "") {
  const shape = shapeOf(schema);
  if (value === null && shape.nullable) return [];
  const branch = branchOf(shape, value);
  if (branch >= 0) return ofOption(value, shape.options[branch], pointer);
  if (!shape.by) {
    const plain = shape.options.filter(({ type }) => isObject(value) || type !== "object");
    const known = (plain.length ? plain : shape.options).map(({ type, ...each }) =>
      "const" in each ? JSON.stringify(each.const) : TYPES[type] ?? type);
    return [{ pointer, detail: `must be ${[...new Set(known)].join(" or ") || "left out"}` }];
  }
  if (!isObject(value)) return [{ pointer, detail: "must be an object" }];
  const names = shape.options.map((each) => nameOf(each, shape.by));
  const found = value[shape.by];
  const known = `choose one of ${names.join(", ")}`;
  const detail = found === undefined ? known : `unknown: '${found}'; ${known}`;
  return [{ pointer: below(pointer, shape.by), detail }];
}

function ofOption(value, schema, pointer) {
  const wrong = (detail) => [{ pointer, detail }];
  const type = typeOf(value);
  const fits = !schema.type || schema.type === type ||
    (schema.type === "number" && type === "integer");
  if (!fits) return wrong(`must be ${TYPES[schema.type] ?? schema.type}`);
  if ("const" in schema && value !== schema.const)
    return wrong(`must be ${JSON.stringify(schema.const)}`);
  if (schema.enum && !schema.enum.includes(value))
    return wrong(`must be one of ${schema.enum.join(", ")}`);
  if (typeof value === "number") return ofNumber(value, schema).flatMap(wrong);
  if (typeof value === "string") return ofText(value, schema).flatMap(wrong);
  if (type === "array") return ofList(value, schema, pointer);
  return type === "object" ? ofObject(value, schema, pointer) : [];
}

function ofNumber(value, schema) {
  const { minimum, maximum, exclusiveMinimum: over, exclusiveMaximum: under } = schema;
  if (value < minimum) return [`must be at least ${minimum}`];
  if (value > maximum) return [`must be at most ${maximum}`];
  if (value <= over) return [`must be more than ${over}`];
  return value >= under ? [`must be less than ${under}`] : [];
}

function ofText(value, { minLength, maxLength, pattern }) {
  if (value.length < minLength) return [`must have at least ${minLength} characters`];
  if (value.length > maxLength) return [`must have at most ${maxLength} characters`];
  if (!pattern || new RegExp(pattern).test(value)) return [];
  return [value ? `must match ${pattern}` : "is required"];
}

function ofList(value, { items, prefixItems, minItems, maxItems }, pointer) {
  const found = value.flatMap((each, index) => {
    const schema = prefixItems?.[index] ?? items;
    return schema ? faultsOf(each, schema, below(pointer, index)) : [];
  });
  const values = (n) => `${n} value${n === 1 ? "" : "s"}`;
  const most = maxItems ?? Infinity;
  if (minItems === most && value.length !== most)
    found.unshift({ pointer, detail: `must have ${values(most)}` });
  else if (value.length < minItems)
    found.unshift({ pointer, detail: `must have at least ${values(minItems)}` });
  else if (value.length > most)
    found.unshift({ pointer, detail: `must have at most ${values(most)}` });
  return found;
}

function ofObject(value, schema, pointer) {
  const { properties = {}, patternProperties, additionalProperties: others = true } = schema;
  const missing = (schema.required ?? []).filter((key) => value[key] === undefined)
    .map((key) => ({ pointer: below(pointer, key), detail: "is required" }));
  const hidden = Object.entries(properties) // parts whose fields are among those of the whole
    .filter(([key, each]) => each.inline && value[key] === undefined)
    .flatMap(([key, each]) => faultsOf({}, each, below(pointer, key)));
  const found = Object.entries(value).flatMap(([key, each]) => {
    const place = below(pointer, key);
    if (Object.hasOwn(properties, key)) return faultsOf(each, properties[key], place);
    if (patternProperties) {
      const match = Object.entries(patternProperties).find(([one]) => new RegExp(one).test(key));
      if (match) return faultsOf(each, match[1], place);
      return [{ pointer: place, detail: key ? `'${key}' is no name for it` : "needs a name" }];
    }
    if (others === false) return [{ pointer: place, detail: "is no field here" }];
    return isObject(others) ? faultsOf(each, others, place) : [];
  });
  return [...missing, ...hidden, ...found];
}
