/** Parallel coordinates: an axis for each parameter and the objective, a line for each job. */

import { el, setText, svg } from "../dom.js";
import { short } from "../numbers.js";
import { coloursOf, placesOf } from "./colours.js";
import { extent, scale } from "./scales.js";

const HEIGHT = 340;
const MARGIN = { top: 44, right: 70, bottom: 14, left: 86 };
const END = 0.02;
const FEW = 8; // values of an axis that are named themselves
const LINE = 14; // px between their names
const NEAR = 8; // px from a line that is meant
const STEPS = 20; // of an arrow key, from one end of an axis to the other
const APART = 130; // px between axes at least; a narrower page scrolls
const TALL = HEIGHT - MARGIN.top - MARGIN.bottom;

/**
 * `update({axes, rows, brushes, best, direction})`: axes are [{path, label, log, values}], rows
 * [{id, label, value}] with one value each in every axis, brushes {path: [from, to]} in shares of
 * an axis from its foot. `brushed(path, pair or null)` and `chosen(id)` may be replaced. It returns
 * the rows that the brushes leave, null where there are none.
 */
export function createParallel(title) {
  const field = svg("svg", { height: HEIGHT, role: "group" });
  const scroll = el("div", { class: "scroll parallel", tabindex: 0, role: "region" }, field);
  const words = el("output", { class: "legend" });
  const element = el("figure", { class: "chart" }, el("figcaption", { class: "hidden" }, title), words, scroll);
  element.setAttribute("aria-label", title);
  scroll.setAttribute("aria-label", `${title}: lines`);
  field.setAttribute("aria-label", "Axes, each with a range to choose by arrow keys");
  const chart = { element, update, brushed: () => {}, chosen: () => {} };
  let model = null;
  let axes = [];
  let drawn = 0;
  let pressed = null; // {axis, from}
  new ResizeObserver(() => scroll.clientWidth !== drawn && draw()).observe(scroll);
  field.addEventListener("pointermove", moved);
  field.addEventListener("pointerdown", (event) => {
    const at = placeOf(event);
    const axis = axes.find(({ x }) => Math.abs(x - at.x) < 14);
    if (!axis || event.button !== 0) return;
    pressed = { axis, from: at.y };
    field.setPointerCapture(event.pointerId);
  });
  field.addEventListener("pointerup", released);
  return chart;

  function update(next) {
    model = next;
    axes = model.axes.map((axis) => ({ ...axis, ...placed(axis) }));
    draw();
    const some = axes.some(({ path }) => model.brushes[path]);
    return some ? model.rows.filter((_, index) => kept(index)) : null;
  }

  function draw() {
    drawn = scroll.clientWidth;
    if (!model || !drawn) return;
    const focused = document.activeElement?.dataset?.path;
    const width = Math.max(drawn - 2, model.axes.length * APART);
    field.setAttribute("width", width);
    const span = (width - MARGIN.left - MARGIN.right) / Math.max(1, model.axes.length - 1);
    axes.forEach((axis, place) => (axis.x = MARGIN.left + place * span));
    const colours = coloursOf(placesOf(model.rows.map((row) => row.value), model.direction));
    const order = model.rows.map((_, index) => index).toSorted((a, b) => rank(a) - rank(b));
    const lines = order.map((index) => {
      const kind = index === model.best ? "best" : kept(index) ? "" : "out";
      const path = svg("path", { class: `line ${kind}`, d: lineOf(index) });
      path.style.stroke = colours[index];
      return path;
    });
    field.replaceChildren(...lines, ...axes.map(axisOf));
    if (focused !== undefined)
      [...field.querySelectorAll("[data-path]")].find((each) => each.dataset.path === focused)?.focus();
    summary();
  }

  function rank(index) {
    return index === model.best ? 2 : Number(kept(index)); // what counts most is drawn last
  }

  function kept(index) {
    return axes.every(({ path, shares }) => {
      const pair = model.brushes[path];
      return !pair || (shares[index] !== null && shares[index] >= pair[0] && shares[index] <= pair[1]);
    });
  }

  function lineOf(index) {
    let pen = "M";
    return axes.map(({ x, shares }) => {
      if (shares[index] === null) return (pen = "M"), "";
      const part = `${pen}${x} ${yOf(shares[index])}`;
      pen = "L";
      return part;
    }).join("");
  }

  function axisOf({ path, label, x, ticks, say }) {
    const pair = model.brushes[path];
    const [from, to] = pair ?? [0, 1];
    const range = pair ? `${say(from)} to ${say(to)}` : "all";
    const group = svg("g", {
      class: "axis", tabindex: 0, role: "slider", "data-path": path, "aria-label": label,
      "aria-valuemin": 0, "aria-valuemax": 1, "aria-valuenow": (from + to) / 2,
      "aria-valuetext": range, "aria-orientation": "vertical",
    });
    group.addEventListener("keydown", (event) => keyed(event, path, [from, to]));
    group.append(
      svg("rect", { class: "grip", x: x - 14, y: MARGIN.top, width: 28, height: TALL }),
      svg("path", { d: `M${x} ${MARGIN.top}V${HEIGHT - MARGIN.bottom}` }),
      svg("text", { class: "name", x, y: 16, "text-anchor": "middle" }, label),
      ...ticks.map(({ share, label: tick }) =>
        svg("text", { x: x - 6, y: yOf(share) + 4, "text-anchor": "end" }, tick)));
    if (pair) {
      const height = Math.max(2, yOf(from) - yOf(to));
      group.append(svg("rect", { class: "selection", x: x - 6, y: yOf(to), width: 12, height }));
    }
    return group;
  }

  function keyed(event, path, [from, to]) {
    const move = { ArrowUp: 1 / STEPS, ArrowDown: -1 / STEPS }[event.key];
    if (event.key === "Escape" || event.key === "Delete") return void chart.brushed(path, null);
    if (!move) return;
    event.preventDefault();
    const bound = (share) => Math.round(Math.max(0, Math.min(1, share)) * 1e3) / 1e3;
    const next = event.shiftKey ? [from, bound(to + move)] : [bound(from + move), to];
    if (next[0] < next[1]) chart.brushed(path, next);
  }

  function released(event) {
    const at = placeOf(event);
    const { axis, from } = pressed ?? {};
    pressed = null;
    if (axis && Math.abs(at.y - from) > 4) {
      const pair = [from, at.y].map(shareOf).sort((a, b) => a - b);
      return void chart.brushed(axis.path, pair);
    }
    if (axis && model.brushes[axis.path]) return void chart.brushed(axis.path, null);
    const found = nearest(at);
    if (found !== null && model.rows[found].id) chart.chosen(model.rows[found].id);
  }

  function moved(event) {
    if (!model || !axes.length) return;
    const at = placeOf(event);
    const found = pressed ? null : nearest(at);
    field.classList.toggle("meant", found !== null);
    if (found === null) return summary();
    const row = model.rows[found];
    setText(words, axes.map(({ label, values }) => `${label} ${sayValue(values[found])}`).join(" · ")
      + ` · job ${row.label}`);
  }

  function summary() {
    const within = model.rows.filter((_, index) => kept(index)).length;
    setText(words, `${within} of ${model.rows.length} jobs. Drag along an axis, or arrow keys on it`
      + " (Shift for its upper end), choose; Escape takes that back."
      + " A click on a line opens its job; yellow lines are the best, violet the worst.");
  }

  /** The line under a place, of those that are chosen. */
  function nearest({ x, y }) {
    const next = axes.findIndex((axis) => axis.x >= x);
    if (next < 1) return null;
    const [a, b] = [axes[next - 1], axes[next]];
    const part = (x - a.x) / (b.x - a.x);
    let [found, least] = [null, NEAR];
    model.rows.forEach((_, index) => {
      if (a.shares[index] === null || b.shares[index] === null || !kept(index)) return;
      const away = Math.abs(yOf(a.shares[index] + part * (b.shares[index] - a.shares[index])) - y);
      if (away < least) [found, least] = [index, away];
    });
    return found;
  }

  function placeOf(event) {
    const box = field.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }
}

const yOf = (share) => MARGIN.top + (1 - share) * TALL;

/** Of an axis, from its foot; close to an end it is the end, with what lies there. */
function shareOf(y) {
  const share = 1 - (y - MARGIN.top) / TALL;
  if (share < END || share > 1 - END) return share < END ? 0 : 1;
  return Math.round(share * 1e3) / 1e3;
}

const sayValue = (value) => {
  if (value === null || value === undefined) return "–";
  return typeof value === "number" ? short(value) : typeof value === "string" ? value : JSON.stringify(value);
};

/** Those that have room beside each other, from both ends. */
function apart(values, of) {
  const kept = [values[0]];
  const room = (a, b) => Math.abs(of.at(a) - of.at(b)) * TALL >= LINE;
  for (const value of values.slice(1, -1))
    if (room(value, kept.at(-1)) && room(value, values.at(-1))) kept.push(value);
  return [...kept, values.at(-1)];
}

/** Where the values of an axis lie, as shares of its height; names are spread evenly. */
function placed({ values, log }) {
  const given = values.filter((value) => value !== null && value !== undefined);
  if (given.every((value) => typeof value === "number")) {
    const [low, high] = extent(given);
    if (low < high) {
      const of = scale(log && low > 0, [low, high], [0, 1]);
      const shares = values.map((value) => (value == null ? null : of.at(value)));
      const few = [...new Set(given)].sort((a, b) => a - b);
      const inner = few.length > FEW ? of.ticks(5).filter(({ label }) => label)
        : apart(few, of).map((value) => ({ value, label: short(value, 3) }));
      const ticks = inner.map(({ value, label }) => ({ share: of.at(value), label }));
      return { shares, ticks, say: (share) => short(of.value(share), 3) };
    }
  }
  const names = [...new Set(given.map(sayValue))];
  const place = (name) => (names.length < 2 ? 0.5 : names.indexOf(name) / (names.length - 1));
  const shares = values.map((value) => (value == null ? null : place(sayValue(value))));
  const ticks = names.map((name) => ({ share: place(name), label: name.slice(0, 12) }));
  return { shares, ticks, say: (share) => `${Math.round(100 * share)} %` };
}
