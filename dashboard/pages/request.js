/** A request as text: JSON to edit, and the commands that send it. */

import { el, setText } from "../dom.js";
import { lineOf, read } from "../forms/json.js";
import { isObject, parentOf } from "../forms/pointers.js";
import { commands } from "./specs.js";

/** `typed(spec)` hears of every text that is a request, `typed(null)` of one that is not. */
export function createText(typed) {
  const text = el("textarea", { rows: 30, spellcheck: "false", id: "request" });
  text.setAttribute("aria-describedby", "request:fault");
  const fault = el("p", { class: "problem", role: "alert", id: "request:fault" });
  const label = el("label", { for: "request" }, "Request, as JSON");
  const element = el("div", {}, label, text, fault);
  let places = new Map();
  text.addEventListener("input", () => typed(parsed()));
  return { element, fill, reveal, lineOf: line, get fault() { return fault.textContent; } };

  function fill(spec) {
    text.value = JSON.stringify(spec, null, 2);
    parsed();
  }

  function parsed() {
    const found = read(text.value);
    places = found.places ?? new Map();
    const odd = !found.fault && !isObject(found.value) ? "a request is an object, { ... }" : "";
    const where = found.fault ? `This is no JSON yet: ${lineOf(text.value, found.offset)}: ` : "";
    setText(fault, found.fault ? where + found.fault : odd);
    if (fault.textContent) text.setAttribute("aria-invalid", "true");
    else text.removeAttribute("aria-invalid");
    return fault.textContent ? null : found.value;
  }

  /** Where a field is, or what it would be in. */
  function placeOf(pointer) {
    let each = pointer;
    while (each && !places.has(each)) each = parentOf(each);
    return places.get(each) ?? 0;
  }

  function line(pointer) {
    return lineOf(text.value, placeOf(pointer)).replace(/,.*/, "");
  }

  /** Selects the line of a field. */
  function reveal(pointer) {
    const at = placeOf(pointer);
    const start = text.value.lastIndexOf("\n", at - 1) + 1;
    text.focus();
    text.setSelectionRange(start, `${text.value}\n`.indexOf("\n", at));
  }
}

/** The same request with other tools. */
export function createCommands() {
  const ways = Object.fromEntries(
    ["curl", "Python", "command line"].map((name) => [name, el("pre", { tabindex: 0 })]));
  const element = el("div", {}, ...Object.entries(ways).map(([name, pre]) =>
    el("details", {}, el("summary", {}, `The same with ${name}`), pre)));
  return {
    element,
    show(spec, signedIn) {
      for (const [name, words] of Object.entries(commands(spec, signedIn)))
        setText(ways[name], words);
    },
  };
}
