/** Fields for what has no parts: a number, a text, a choice, a list of these, or else JSON. */

import { el } from "../dom.js";
import { read } from "./json.js";
import { isObject } from "./pointers.js";
import { labelOf, only, same, shapeOf, typeOf, words } from "./schema.js";

const ROUND = 1e6; // bounds beyond it are there for the machine, and nobody needs to be told

/** A label, a control, and what helps; the form adds what is wrong. */
export function field(form, place, control, { beside = [], help: about = "", kind = "" } = {}) {
  const { pointer, label, required } = place;
  const help = [form.noteOf(pointer), about].filter(Boolean).join("; ");
  const id = form.idOf(pointer);
  control.id ||= id;
  if (required && control.matches("input:not([type=checkbox]), select"))
    control.setAttribute("aria-required", "true");
  const helps = el("small", { id: `${id}:help` }, help);
  const fault = el("p", { class: "fault", id: `${id}:fault` });
  const ticked = control.type === "checkbox";
  const name = el("label", { for: control.id }, label);
  if (required) name.append(el("span", { class: "needed", "aria-hidden": "true" }, " *"));
  const entry = el("div", { class: ticked ? "entry ticked" : "entry" }, control, ...beside);
  if (ticked) entry.append(name);
  const element = el("div", { class: "field" }, ...(ticked ? [] : [name]), entry);
  if (help) element.append(helps);
  element.append(fault);
  form.register(pointer, { element, control, fault, label, kind, help: help && helps.id });
  return element;
}

/** A field of a plain type; null where the schema has no such type. */
export function leaf(form, place) {
  const shape = shapeOf(place.schema);
  const [option] = shape.options;
  const help = helpOf(shape.description, option);
  if (option.enum) return choiceField(form, place, shape, help);
  if (option.type === "boolean") return tickField(form, place, shape, help);
  if (!["number", "integer", "string"].includes(option.type)) return null;
  const value = form.value(place.pointer);
  const written = (next) => form.write(place.pointer, next ?? place.empty);
  const input = inputFor(form, option, value, place.pointer, written);
  input.placeholder = placeholderOf(shape);
  const beside = shape.nullable && shape.fallback !== undefined
    ? [noneBox(form, place, input, value === null)] : [];
  return field(form, place, input, { beside, help });
}

const placeholderOf = ({ fallback, description }) => {
  if (fallback !== undefined && fallback !== null) return [fallback].flat().join(", ");
  return description?.includes("unset") ? "unset" : "";
};

function helpOf(description, option) {
  const low = option.minimum ?? option.exclusiveMinimum;
  const high = option.maximum ?? option.exclusiveMaximum;
  const bounds = Math.abs(low) < ROUND && Math.abs(high) < ROUND ? `${low} to ${high}` : "";
  return [firstOf(description), bounds].filter(Boolean).join("; ");
}

/** The first paragraph of a description. */
export const firstOf = (text) =>
  (text ?? "").split(/\n\s*\n/)[0].replace(/\s+/g, " ").replaceAll("`", "").trim();

/** For a value that may be null though that is not its default. */
function noneBox(form, { pointer, label }, input, isNone) {
  const box = el("input", { type: "checkbox", "aria-label": `${label}: none` });
  box.id = `${form.idOf(pointer)}:none`;
  box.checked = isNone;
  input.disabled = isNone;
  box.addEventListener("change", () => {
    form.write(pointer, box.checked ? null : undefined);
    form.rebuild();
  });
  return el("label", { class: "control" }, box, "none");
}

/** An input for a number or a text, which hears its list of suggestions by name. */
export function inputFor(form, option, value, pointer, write) {
  const counts = ["undefined", "null", "integer"].includes(typeOf(value));
  const whole = counts && option.type === "integer";
  const input = el("input", whole ? { type: "number", step: 1 } : { type: "text" });
  input.setAttribute("autocomplete", "off");
  if (option.type === "number") input.setAttribute("inputmode", "decimal");
  if (whole) {
    const least = option.minimum ?? (option.exclusiveMinimum ?? NaN) + 1;
    if (Number.isFinite(least)) input.min = least;
    if (Number.isFinite(option.maximum)) input.max = option.maximum;
  }
  if (option.maxLength) input.maxLength = option.maxLength;
  const list = form.listFor(option);
  if (list) input.setAttribute("list", list);
  input.value = isObject(value) ? JSON.stringify(value) : value ?? "";
  input.addEventListener("input", () => {
    form.bad(pointer, input.validity.badInput ? "must be a whole number" : "");
    const text = input.value.trim();
    if (text === "") return write(undefined);
    return write(option.type === "string" ? input.value : numberOf(text));
  });
  return input;
}

const numberOf = (text) => {
  const number = Number(text);
  return text !== "" && Number.isFinite(number) ? number : text;
};

function choiceField(form, place, shape, help) {
  const [option] = shape.options;
  const value = form.value(place.pointer);
  const { fallback, nullable } = shape;
  const shown = value === undefined ? fallback : value;
  const entries = option.enum.map((each) =>
    el("option", { value: each }, String(each)));
  if (fallback === undefined)
    entries.unshift(el("option", { value: "" }, place.required ? "choose …" : "unset"));
  const known = shown === undefined || (nullable && shown === null) || option.enum.includes(shown);
  if (!known) entries.push(el("option", { value: shown }, JSON.stringify(shown)));
  const select = el("select", {}, ...entries);
  select.value = shown ?? "";
  select.addEventListener("change", () => {
    const next = select.value === "" ? undefined : select.value;
    form.write(place.pointer, same(next, fallback) ? undefined : next);
  });
  return field(form, place, select, { help });
}

function tickField(form, place, { fallback = false }, help) {
  const box = el("input", { type: "checkbox" });
  box.checked = form.value(place.pointer) ?? fallback;
  box.addEventListener("change", () => {
    const told = place.required || box.checked !== fallback;
    form.write(place.pointer, told ? box.checked : undefined);
  });
  return field(form, place, box, { help });
}

/** A number or a text beside the unit that it is in. */
export function measureField(form, place, shape, branch) {
  const { pointer } = place;
  const value = form.value(pointer);
  const options = shape.options;
  const at = Math.max(0, branch);
  const name = only(options[at])?.[0] ?? null;
  const option = name === null ? options[at] : only(options[at])[1];
  const written = (next) => {
    form.chosen.set(pointer, at);
    const nothing = next === undefined;
    form.write(pointer, nothing ? place.empty : name === null ? next : { [name]: next });
  };
  const inner = name === null ? value : value?.[name];
  const input = inputFor(form, option, inner, pointer, written);
  const { fallback } = shape;
  input.placeholder = typeof fallback === "number" && name === null ? fallback : "";
  const units = options.map((each, index) =>
    el("option", { value: index }, labelOf(each, shape)));
  const unit = el("select", { "aria-label": `${place.label}: unit` }, ...units);
  unit.id = `${form.idOf(pointer)}:unit`;
  unit.value = at;
  unit.addEventListener("change", () => {
    form.chosen.set(pointer, Number(unit.value));
    form.write(pointer, place.empty);
    form.rebuild();
  });
  const help = firstOf(shape.description);
  return field(form, place, input, { beside: [unit], help, kind: "measure" });
}

/** Numbers or words with commas between; `items` may allow anything. */
export function listField(form, place, shape) {
  const [option] = shape.options;
  const { type } = option.items ?? option.prefixItems[0];
  const value = form.value(place.pointer);
  const input = el("input", { type: "text", autocomplete: "off" });
  input.value = (value ?? []).map((each) => textOf(each)).join(", ");
  input.placeholder = value ? "none" : placeholderOf(shape);
  input.addEventListener("input", () => {
    input.placeholder = placeholderOf(shape);
    const texts = input.value.split(",").map((each) => each.trim());
    if (texts.at(-1) === "") texts.pop();
    const next = texts.map((each) => (type ? numberOf(each) : scalarOf(each)));
    form.write(place.pointer, texts.length ? next : place.empty);
  });
  const { minItems, maxItems } = option;
  const many = minItems === maxItems && minItems ? `${minItems} values` : "values";
  const help = [firstOf(shape.description), `${many} with commas between`];
  return field(form, place, input, { help: help.filter(Boolean).join("; ") });
}

const scalarOf = (text) => {
  const { value } = read(text);
  return value === undefined || isObject(value) ? text : value;
};

const textOf = (value) => {
  if (typeof value !== "string") return JSON.stringify(value);
  return scalarOf(value) === value ? value : JSON.stringify(value);
};

/** Some of a few words. */
export function someField(form, place, shape) {
  const [option] = shape.options;
  const id = form.idOf(place.pointer);
  const boxes = option.items.enum.map((each) => {
    const box = el("input", { type: "checkbox", value: each });
    box.id = `${id}:${each}`;
    box.checked = (form.value(place.pointer) ?? []).includes(each);
    box.addEventListener("change", () => {
      const ticked = boxes.filter((one) => one.checked).map((one) => one.value);
      form.write(place.pointer, ticked.length ? ticked : undefined);
    });
    return box;
  });
  const labels = boxes.map((box) => el("label", { class: "control" }, box, words(box.value)));
  const fault = el("p", { class: "fault", id: `${id}:fault` });
  const element = el("fieldset", { class: "field" }, el("legend", {}, place.label),
    el("div", { class: "entry some" }, ...labels),
    el("small", {}, firstOf(shape.description)), fault);
  form.register(place.pointer, { element, control: boxes[0], fault, label: place.label, kind: "" });
  return element;
}

/** Anything, as JSON. */
export function jsonField(form, place, shape) {
  const value = form.value(place.pointer);
  const area = el("textarea", { rows: 3, spellcheck: "false" });
  area.value = value === undefined ? "" : JSON.stringify(value, null, 1);
  area.addEventListener("input", () => {
    if (!area.value.trim()) {
      form.bad(place.pointer, "");
      return form.write(place.pointer, place.empty);
    }
    const { value: next, fault } = read(area.value);
    form.bad(place.pointer, fault ?? "");
    return fault ? form.changed(place.pointer) : form.write(place.pointer, next);
  });
  const help = [firstOf(shape.description), "JSON"].filter(Boolean).join("; ");
  return field(form, place, area, { help });
}
