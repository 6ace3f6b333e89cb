/** A form of a document, made from its schema; a field is known by the JSON pointer it writes. */

import { el, setText } from "../dom.js";
import { fieldsOf, propertiesOf } from "./groups.js";
import { at, isObject, parentOf, partsOf, put, within } from "./pointers.js";
import { words } from "./schema.js";

const OUTER = ["params", "template"]; // parts of a pointer that nobody sees in the form

/**
 * `changed(pointer)` hears of every change; `listFor(schema)` may name a list of suggestions;
 * `noteOf(pointer)` may have something to say of a field.
 */
export function createForm({ changed, listFor, noteOf }) {
  const element = el("div", { class: "fields top" });
  const fields = new Map(); // pointer -> {element, control, fault, label, kind, help}
  const touched = new Set(); // pointers of fields that somebody has been at
  const unreadable = new Map(); // pointer -> what is wrong with a text that is no value
  let schema = null;
  let root = {};

  const form = {
    element,
    chosen: new Map(), // pointer -> the branch of a union, where the value does not say
    memory: new Map(), // what a branch had before another was chosen
    open: new Set(), // folds
    soft: new Set(), // objects that are gone when nothing is in them
    given: new Map(), // pointer -> what is shown there while the document has nothing
    changed,
    listFor,
    noteOf,
    idOf: (pointer) => `at:${encodeURIComponent(pointer)}`,
    value,
    isSet: (pointer) => at(root, pointer) !== undefined,
    register: (pointer, each) => fields.set(pointer, each),
    write,
    bad,
    rebuild,
    show,
    faults,
    reveal,
    touch: (pointer) => touched.add(pointer),
    isTouched: (pointer) => [...touched].some((each) => within(pointer, each)),
    labelOf,
    ordered,
    get unreadable() {
      return [...unreadable].map(([pointer, detail]) => ({ pointer, detail }));
    },
  };

  element.addEventListener("change", ({ target }) => {
    const found = [...fields].find(([, each]) =>
      each.kind !== "group" && each.element.contains(target));
    if (!found) return;
    touched.add(found[0]);
    changed(found[0]);
  });
  return form;

  function bad(pointer, detail) {
    if (detail) unreadable.set(pointer, detail);
    else unreadable.delete(pointer);
  }

  function value(pointer) {
    const found = at(root, pointer);
    if (found !== undefined) return found;
    const outer = givenAround(pointer);
    return outer && at(form.given.get(outer), pointer.slice(outer.length));
  }

  function givenAround(pointer) {
    return [...form.given.keys()].find((outer) =>
      within(pointer, outer) && at(root, outer) === undefined);
  }

  function write(pointer, value) {
    const outer = givenAround(pointer);
    if (outer !== undefined && outer !== pointer)
      put(root, outer, structuredClone(form.given.get(outer)));
    put(root, pointer, value);
    for (let outer = parentOf(pointer); outer && value === undefined; outer = parentOf(outer)) {
      const left = at(root, outer);
      if (!form.soft.has(outer) || !isObject(left) || Object.keys(left).length) break;
      put(root, outer, undefined);
    }
    changed(pointer);
  }

  /** Shows a document, which the form from then on writes into. */
  function show(nextSchema, document) {
    if (root !== document) {
      for (const each of [form.chosen, form.memory, touched]) each.clear();
    }
    schema = nextSchema;
    root = document;
    rebuild();
  }

  /** Makes the fields anew, after their kinds may have changed. */
  function rebuild(focus = document.activeElement?.id) {
    const { activeElement: held } = document;
    const there = element.contains(held) || focus !== held?.id;
    const caret = held?.type === "text" && focus === held.id ? held.selectionStart : null;
    fields.clear();
    unreadable.clear();
    form.soft.clear();
    form.given.clear();
    element.replaceChildren(...propertiesOf(form, schema, "", { skip: "kind" }));
    const next = there && focus ? document.getElementById(focus) : null;
    next?.focus();
    if (caret !== null) next?.setSelectionRange(caret, caret);
    changed("");
  }

  /** Shows what is wrong beside the fields. */
  function faults(found) {
    const told = new Map();
    for (const each of found) {
      const pointer = placeOf(each.pointer);
      if (pointer === null) continue;
      told.set(pointer, [...(told.get(pointer) ?? []), sentence(pointer, each)]);
    }
    for (const [pointer, { control, fault, help, kind }] of fields) {
      const text = (told.get(pointer) ?? []).join("; ");
      setText(fault, text);
      if (kind === "group") continue;
      const about = [help, text && fault.id].filter(Boolean).join(" ");
      if (about) control.setAttribute("aria-describedby", about);
      else control.removeAttribute("aria-describedby");
      if (text) control.setAttribute("aria-invalid", "true");
      else control.removeAttribute("aria-invalid");
    }
  }

  /** The field of a pointer, or the nearest around it; null where there is none. */
  function placeOf(pointer) {
    for (let each = pointer; ; each = parentOf(each)) {
      if (fields.has(each)) return each;
      if (!each) return null;
    }
  }

  /** What is wrong as one comes by it; what has no field is last. */
  function ordered(found) {
    const order = [...element.querySelectorAll(".fault")].map((each) => each.id);
    const rank = ({ pointer }) => {
      const place = placeOf(pointer);
      return place === null ? order.length : order.indexOf(`${form.idOf(place)}:fault`);
    };
    return [...found].sort((one, other) => rank(one) - rank(other));
  }

  function sentence(place, { pointer, detail }) {
    const rest = partsOf(pointer.slice(place.length));
    const { kind } = fields.get(place);
    if (!rest.length || kind === "measure") return detail;
    if (kind === "union" && ["name", "policy", "kind"].includes(rest.at(-1))) return detail;
    if (/^\d+$/.test(rest[0])) return `value ${Number(rest[0]) + 1} ${detail}`;
    return `${rest.join("/")} ${detail}`;
  }

  function labelOf(pointer) {
    const place = placeOf(pointer);
    if (place === null) return pointer;
    const path = partsOf(pointer).filter((each) => !OUTER.includes(each));
    const [first, ...rest] = path.map((each) =>
      (each.startsWith("/") ? each : each.replaceAll("_", " ")));
    return [words(first ?? fields.get(place).label), ...rest].join(", ");
  }

  /** Moves the focus to the field of a pointer; false where there is none. */
  function reveal(pointer) {
    const place = placeOf(pointer);
    if (place === null) return false;
    const { element: whole, control } = fields.get(place);
    for (let fold = whole; fold && fold !== element; fold = fold.parentElement)
      if (fold.tagName === "DETAILS") fold.open = true;
    const inner = "input, select, textarea, button";
    const focused = control === whole ? whole.querySelector(inner) : control;
    focused?.focus();
    whole.scrollIntoView({ block: "center" });
    return true;
  }
}
