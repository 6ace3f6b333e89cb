/** Fields for what has parts: objects, unions, lists of parts, and maps from names to values. */

import { el } from "../dom.js";
import { begun } from "./carrying.js";
import { field, firstOf, jsonField, leaf, listField, measureField, someField } from "./fields.js";
import { below, isObject, parentOf } from "./pointers.js";
import { branchOf, isMeasure, labelOf, only, shapeOf, trimmed, words } from "./schema.js";

const PLAIN = ["number", "integer", "string", "boolean"];

/** The elements for one place: `{schema, pointer, label, required, empty, nested}`. */
export function fieldsOf(form, place) {
  const shape = shapeOf(place.schema);
  const [option] = shape.options;
  if (!option) return []; // it can only be null
  const parts = isObject(shape.fallback) || Array.isArray(shape.fallback);
  if (parts && (shape.by || option.items?.oneOf))
    form.given.set(place.pointer, trimmed(shape.fallback, place.schema));
  const value = form.value(place.pointer);
  if (shape.options.length > 1 || shape.by) {
    const shown = value === undefined ? shape.fallback : value;
    const branch = branchOf(shape, shown ?? undefined, form.chosen.get(place.pointer));
    if (!isMeasure(shape)) return [union(form, place, shape, branch)];
    const chosen = branch < 0 ? form.chosen.get(place.pointer) : branch;
    return [measureField(form, place, shape, chosen ?? 0)];
  }
  if ("const" in option) return [];
  if (option.enum || PLAIN.includes(option.type)) return [leaf(form, place)];
  if (option.type === "array") return [list(form, place, shape, value)];
  if (option.properties) return object(form, place, shape, value);
  if (option.patternProperties) return [map(form, place, shape)];
  return [jsonField(form, place, shape)];
}

function list(form, place, shape, value) {
  const [option] = shape.options;
  const items = option.items ?? option.prefixItems[0];
  const anything = !items.type && !items.oneOf && !items.anyOf;
  const deep = anything && value?.some?.((each) => each !== null && typeof each === "object");
  if (deep || (value !== undefined && !Array.isArray(value))) return jsonField(form, place, shape);
  if (items.enum) return someField(form, place, shape);
  const plain = PLAIN.includes(items.type) && items.type !== "string";
  if (anything || plain) return listField(form, place, shape);
  return rows(form, place, shape, value ?? shape.fallback ?? []);
}

/** Fields under a heading, where faults of parts that have no field of their own are told. */
function group(form, { pointer, label }, shape, children) {
  const id = form.idOf(pointer);
  const parts = [el("p", { class: "heading", id: `${id}:heading` }, label)];
  const about = firstOf(shape.description);
  if (about) parts.push(el("small", {}, about));
  const fault = el("p", { class: "fault", id: `${id}:fault` });
  const body = el("div", { class: "fields" }, ...children);
  const named = { class: "group", role: "group", "aria-labelledby": `${id}:heading` };
  const element = el("div", named, ...parts, fault, body);
  form.register(pointer, { element, control: element, fault, label, kind: "group" });
  return element;
}

function object(form, place, shape, value) {
  const { pointer, required } = place;
  const [option] = shape.options;
  const one = only(option);
  if (one && !place.required && one[1].oneOf && isMeasure(shapeOf(one[1]))) {
    form.soft.add(pointer); // gone with its only part
    const label = `${place.label} ${words(one[0]).toLowerCase()}`;
    const schema = { ...one[1], description: one[1].description ?? shape.description };
    return fieldsOf(form, { schema, pointer: below(pointer, one[0]), label, required: false });
  }
  if (place.schema.inline) {
    form.soft.add(pointer);
    return propertiesOf(form, option, pointer, { ...place, folds: place.nested });
  }
  if (!shape.nullable) {
    if (!required) form.soft.add(pointer);
    return [group(form, place, shape, propertiesOf(form, option, pointer, place))];
  }
  const box = el("input", { type: "checkbox" });
  box.checked = isObject(value);
  box.addEventListener("change", () => {
    form.write(pointer, box.checked ? {} : undefined);
    form.rebuild();
  });
  const help = firstOf(shape.description ?? option.description);
  const tick = field(form, place, box, { help });
  if (!box.checked) return [tick];
  const children = propertiesOf(form, option, pointer, place);
  return [el("div", { class: "group" }, tick, el("div", { class: "fields" }, ...children))];
}

/** The fields of an object's parts: the needed ones first, rare ones behind a fold. */
export function propertiesOf(form, option, pointer, { skip, nested, folds } = {}) {
  const { properties, required = [], main } = option;
  const names = Object.keys(properties).filter((name) => name !== skip);
  const needed = (name) => required.includes(name);
  const first = main?.filter((name) => names.includes(name)) ??
    [...names.filter(needed), ...names.filter((name) => !needed(name))];
  const later = main ? names.filter((name) => !main.includes(name)) : [];
  if (!main && folds) later.push(...first.splice(names.filter(needed).length));
  const fields = (which) => which.flatMap((name) => {
    const schema = properties[name];
    const label = schema.label ?? words(name);
    const place = { schema, pointer: below(pointer, name), label, required: needed(name), nested };
    return fieldsOf(form, place);
  });
  const behind = fields(later);
  return behind.length ? [...fields(first), fold(form, pointer, later, behind)] : fields(first);
}

function fold(form, pointer, names, children) {
  const set = names.filter((name) => form.isSet(below(pointer, name))).length;
  const summary = el("summary", {}, `More settings${set ? ` (${set} set)` : ""}`);
  const element = el("details", { class: "more" }, summary,
    el("div", { class: "fields" }, ...children));
  const key = `${pointer}:more`;
  element.open = form.open.has(key);
  element.addEventListener("toggle", () => form.open[element.open ? "add" : "delete"](key));
  return element;
}

function union(form, place, shape, branch) {
  const { pointer, required, label } = place;
  const option = shape.options[branch];
  const entries = shape.options.map((each, index) =>
    el("option", { value: index }, labelOf(each, shape)));
  if (shape.fallback === undefined && !(required && branch >= 0))
    entries.unshift(el("option", { value: "" }, required ? "choose …" : "none"));
  const select = el("select", {}, ...entries);
  select.value = branch < 0 ? "" : branch;
  select.addEventListener("change", () => {
    const old = form.value(pointer);
    if (branch >= 0) form.memory.set(`${pointer}|${branch}`, old);
    const next = select.value === "" ? null : Number(select.value);
    form.chosen.set(pointer, next);
    form.write(pointer, next === null ? place.empty
      : begun(shape.options[next], shape.by, old, form.memory.get(`${pointer}|${next}`)));
    form.rebuild();
  });
  const about = firstOf(option?.description ?? (option ? "" : shape.description));
  const help = place.schema.help ?? about;
  if (option && !option.properties) select.id = `${form.idOf(pointer)}:branch`; // one more is below
  const chooser = field(form, place, select, { help, kind: "union" });
  const inner = option ? partsOf(form, place, shape, option) : [];
  if (option?.formula && !place.nested) {
    const parts = [el("pre", {}, option.formula), el("small", {}, option.source)];
    inner.push(el("details", { class: "more" }, el("summary", {}, "Formula"), ...parts));
  }
  if (!inner.length && !shape.by) return chooser;
  const parts = el("div", { class: "fields" }, ...inner);
  const named = { class: "group", role: "group", "aria-label": label };
  return el("div", named, chooser, parts);
}

function partsOf(form, place, shape, option) {
  const { pointer, nested } = place;
  const how = { skip: shape.by, nested, folds: nested };
  if (option.properties) return propertiesOf(form, option, pointer, how);
  if ("const" in option) return [];
  const label = words(labelOf(option, shape));
  return fieldsOf(form, { schema: option, pointer, label, required: true, empty: [], nested });
}

/** What one of several is called: `pieces` are each a piece. */
const eachOf = ({ schema, label }) => schema.item ?? label.toLowerCase().replace(/s$/, "");

function rows(form, place, shape, value) {
  const { pointer } = place;
  const [option] = shape.options;
  const what = eachOf(place);
  const now = () => form.value(pointer) ?? value;
  const children = value.map((_, index) => {
    const label = `${words(what)} ${index + 1}`;
    const each = { pointer: below(pointer, index), label, required: true, nested: true };
    const empty = option.items.type === "string" ? "" : null;
    return row(form, each, fieldsOf(form, { ...each, schema: option.items, empty }), () =>
      form.write(pointer, now().filter((_, other) => other !== index)));
  });
  const more = adder(form, pointer, `Add ${what}`, () => {
    const { options, by } = shapeOf(option.items);
    const next = begun(options[0], by) ?? (option.items.type === "string" ? "" : null);
    form.write(pointer, [...now(), next]);
    return below(pointer, now().length - 1);
  });
  return group(form, place, shape, [...children, more]);
}

function map(form, place, shape) {
  const { pointer } = place;
  const [option] = shape.options;
  const [schema] = Object.values(option.patternProperties);
  const { options } = shapeOf(schema);
  const empty = options.some((each) => each.type === "array") ? []
    : options[0].type === "string" ? "" : null;
  const what = eachOf(place);
  const now = () => Object.entries(isObject(form.value(pointer)) ? form.value(pointer) : {});
  const children = now().map(([key], index) => {
    const label = `${words(what)} ${index + 1}`;
    const each = { pointer: below(pointer, key), label, required: true, nested: true };
    const id = `${form.idOf(pointer)}:key:${index}`;
    const name = nameControl(place.schema.names?.(form), key);
    name.id = id;
    name.addEventListener("input", () => {
      const taken = now().some(([one], other) => one === name.value && other !== index);
      form.bad(each.pointer, taken ? `there is '${name.value}' already` : "");
      if (taken) return form.changed(each.pointer);
      const renamed = now().map(([one, held]) => [one === key ? name.value : one, held]);
      form.write(pointer, Object.fromEntries(renamed));
      return form.rebuild();
    });
    const labelled = el("div", { class: "field" }, el("label", { for: id }, words(what)),
      el("div", { class: "entry" }, name));
    const inner = fieldsOf(form, { ...each, label: "Value", schema, empty });
    const whole = row(form, each, [labelled, ...inner], () => form.write(pointer,
      Object.fromEntries(now().filter(([one]) => one !== key))));
    whole.classList.add("named");
    return whole;
  });
  const more = adder(form, pointer, `Add ${what}`, () => {
    const held = Object.fromEntries(now());
    const next = place.schema.names?.(form).find(([one]) => !(one in held))?.[0] ?? "";
    form.write(pointer, { ...held, [next]: structuredClone(empty) });
    return `:key:${now().length - 1}`;
  });
  form.soft.add(pointer);
  return group(form, place, shape, [...children, more]);
}

function nameControl(names, key) {
  if (!names) {
    const input = el("input", { type: "text", autocomplete: "off" });
    input.value = key;
    return input;
  }
  const known = names.some(([one]) => one === key) ? names : [[key, key || "choose …"], ...names];
  const select = el("select", {}, ...known.map(([value, label]) => el("option", { value }, label)));
  select.value = key;
  return select;
}

function row(form, { pointer, label }, children, remove) {
  const out = el("button", { type: "button", class: "out", "aria-label": `Remove ${label}` }, "×");
  out.addEventListener("click", () => {
    remove();
    form.rebuild(`${form.idOf(parentOf(pointer))}:add`);
  });
  return el("div", { class: "row", role: "group", "aria-label": label }, ...children, out);
}

function adder(form, pointer, words, add) {
  const id = `${form.idOf(pointer)}:add`;
  const button = el("button", { type: "button", id }, words);
  button.addEventListener("click", () => {
    const made = add();
    form.rebuild(made[0] === ":" ? form.idOf(pointer) + made : form.idOf(made));
  });
  return el("div", { class: "adder" }, button);
}
