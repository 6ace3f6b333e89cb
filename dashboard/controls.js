/** Small controls whose state is in the address. */

import { el, setText } from "./dom.js";

const PATIENCE = 60; // ms of a slider's movement that make one change

/** A list to choose from; `options` are [value, words], of which the first is the default. */
export function choice(label, name, options, turn) {
  const entries = options.map(([value, words]) => el("option", { value }, words));
  const field = el("select", {}, ...entries);
  const [fallback] = options[0];
  field.addEventListener("change", () =>
    turn({ [name]: field.value === fallback ? null : field.value }));
  const element = el("label", { class: "control" }, `${label} `, field);
  return {
    element,
    field,
    /** What `view` says, if it is among the options. */
    read(view) {
      const wanted = view.get(name);
      const known = [...field.options].some((option) => option.value === wanted);
      field.value = known ? wanted : fallback;
      return field.value;
    },
  };
}

/** A box to tick; in the address it is there where it is ticked. */
export function tick(label, name, turn) {
  const field = el("input", { type: "checkbox" });
  field.addEventListener("change", () => turn({ [name]: field.checked ? 1 : null }));
  const element = el("label", { class: "control" }, field, ` ${label}`);
  return { element, read: (view) => (field.checked = view.has(name)) };
}

/** How much is smoothed, in percent of the picture's width. */
export function smoothing(turn, fallback = 0) {
  const field = el("input", { type: "range", min: 0, max: 15, step: 0.5 });
  const words = el("output");
  let timer;
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      turn({ smooth: Number(field.value) === fallback ? null : field.value });
    }, PATIENCE);
  });
  const element = el("label", { class: "control" }, "Smoothing ", field, words);
  return {
    element,
    read(view) {
      const wanted = Number(view.get("smooth") ?? fallback);
      field.value = Number.isFinite(wanted) ? wanted : fallback;
      const percent = Number(field.value);
      setText(words, percent ? `±${percent} %` : "off");
      return percent / 100;
    },
  };
}

/** Buttons that zoom the chart of `chartOf()`, and one that takes the zoom back. */
export function zoom(turn, chartOf, name = "zoom") {
  const button = (words, label, onclick) =>
    el("button", { type: "button", "aria-label": label, title: label, onclick }, words);
  const back = button("Whole picture", "Whole picture", () => turn({ [name]: null }));
  const element = el("span", { class: "control" },
    button("+", "Zoom in", () => chartOf()?.closer(0.5)),
    button("−", "Zoom out", () => chartOf()?.closer(2)), back);
  return { element, read: (view) => (back.hidden = !view.has(name)) };
}
