/** A line chart: axes, bands, marks, crosshair with exact values, zoom, and its data as a table. */

import { el, setText, svg } from "../dom.js";
import { axes, grounds, labels } from "./axes.js";
import { paint, shows } from "./curves.js";
import { closest, exact, nearest, reading } from "./readings.js";
import { scale } from "./scales.js";
import { createTable } from "./table.js";

const MARGIN = { top: 8, right: 14, bottom: 38, left: 58 };
const DRAG = 6; // px that a press must move to be a zoom
const dark = matchMedia("(prefers-color-scheme: dark)");

/**
 * A chart whose `update(model)` draws it anew. The model:
 *   x, y: {label, log, limits: [from, to]}
 *   curves: [{label, name, tone or color, x: [], y: [], dots, strong, ghost, stopped, derived,
 *   quiet}], ascending in x, null where not finite; curves of one label share one entry of the
 *   legend, where `quiet` ones are not; those that are `derived` from others are not in the table
 *   bands: [{from, to, label, kind}]; marks: [{x, label, after, kind}], `after` says on which side
 *   of its line the label stands; note: text under the chart
 * `moved(x)` and `zoomed(limits or null)` may be replaced, as `link` does; `closer(factor)` zooms.
 */
export function createChart(title, height) {
  const canvas = el("canvas", { "aria-hidden": "true" });
  const [under, over] = [1, 2].map(() => svg("svg", { height, "aria-hidden": "true" }));
  const plot = el("div", { class: "plot", tabindex: 0, role: "img" }, under, canvas, over);
  const crosshair = svg("g", { class: "crosshair" });
  const legend = el("output", { class: "legend" });
  const note = el("p", { class: "note" });
  const table = createTable(title);
  const heading = el("figcaption", {}, el("span", {}, title));
  const element = el("figure", { class: "chart" }, heading, legend, plot, note, table.element);
  element.setAttribute("aria-label", title);
  plot.setAttribute("aria-label", title);
  plot.style.height = `${height}px`;

  const chart = { element, heading, update, point, moved: point, zoomed: () => {}, closer };
  let model, x, y, entries, width;
  let drawn = 0; // how wide the plot was, in px
  let cursor = null; // where the crosshair stands, in units of x
  let pressed = null; // where a drag began, in px
  const tall = height - MARGIN.top - MARGIN.bottom;

  new ResizeObserver(() => plot.clientWidth !== drawn && draw()).observe(plot);
  dark.addEventListener("change", draw);
  plot.addEventListener("pointermove", (event) => {
    if (!x) return;
    chart.moved(x.value(along(event)));
    if (pressed !== null) select(pressed, along(event));
  });
  plot.addEventListener("pointerleave", () => pressed === null && chart.moved(null));
  plot.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch" || event.button !== 0 || !x) return;
    pressed = along(event);
    plot.setPointerCapture(event.pointerId);
  });
  plot.addEventListener("pointerup", release);
  plot.addEventListener("dblclick", () => chart.zoomed(null));
  plot.addEventListener("blur", () => chart.moved(null));
  plot.addEventListener("keydown", keyed);
  return chart;

  function update(next) {
    model = { bands: [], marks: [], ...next };
    const described = [...new Set(model.curves.map((curve) => curve.label))].join(", ");
    const help = "Arrow keys read the values, plus and minus zoom; the data follow as a table.";
    plot.setAttribute("aria-label", `${title}: ${described || "no curves yet"}. ${help}`);
    setText(note, model.note ?? "");
    listCurves();
    draw();
    table.show(model);
  }

  function listCurves() {
    const listed = model.curves.filter((curve) => !curve.quiet);
    const seen = new Map(listed.map((curve) => [curve.label, curve]));
    entries = [...seen].map(([label, curve]) => entry(label, curve));
    entries.unshift(entry(model.x.label, null));
    legend.replaceChildren(...entries.map((each) => each.item));
  }

  function entry(label, curve) {
    const value = el("b");
    const faint = curve?.ghost && !model.curves.some((each) => each.quiet);
    const swatch = curve && el("i", { class: `swatch ${faint ? "ghost" : ""}` });
    if (curve) dress(swatch, curve);
    const words = curve ? [swatch, `${label} `] : [`${label} `];
    return { label, value, swatch, item: el("span", {}, ...words, value) };
  }

  function draw() {
    drawn = plot.clientWidth;
    width = drawn - MARGIN.left - MARGIN.right;
    if (!model || width <= 0) return;
    x = scale(model.x.log, model.x.limits, [0, width]);
    y = scale(model.y.log, model.y.limits, [tall, 0]);
    const { bands, marks, x: { label } } = model;
    const field = { x, y, width, tall, right: MARGIN.right, name: label, bands, marks };
    const origin = `translate(${MARGIN.left} ${MARGIN.top})`;
    under.replaceChildren(svg("g", { transform: origin }, ...grounds(field), ...axes(field)));
    over.replaceChildren(svg("g", { transform: origin }, ...labels(field), crosshair));
    paint(canvas, { width, height: tall, x, y, curves: model.curves, colors: colors() });
    point(cursor);
  }

  /** What the stylesheet makes of each curve's tone, in this theme. */
  function colors() {
    const probe = el("i", { hidden: "" });
    const computed = getComputedStyle(probe);
    const known = new Map();
    plot.append(probe);
    for (const { tone } of model.curves) {
      if (known.has(tone)) continue;
      probe.className = `tone-${tone}`;
      known.set(tone, computed.color);
    }
    probe.remove();
    return model.curves.map(({ tone, color }) => color ?? known.get(tone));
  }

  /** Moves the crosshair to the point nearest to `target`, or takes it away. */
  function point(target) {
    cursor = target;
    if (!x) return;
    const found = target === null ? [] : nearest(model.curves, target, x);
    const position = found[0]?.curve.x[found[0].index];
    crosshair.replaceChildren();
    if (found.length) {
      crosshair.append(svg("path", { d: `M${x.at(position)} 0V${tall}` }));
      for (const { curve, index } of found) {
        const up = shows(curve.y[index], y) ? y.at(curve.y[index]) : -1;
        const place = { cx: x.at(curve.x[index]), cy: up, r: 3 };
        if (up >= 0 && up <= tall) crosshair.append(dress(svg("circle", place), curve));
      }
    }
    for (const [row, { label, value }] of entries.entries()) {
      const of = found.filter((each) => each.curve.label === label);
      setText(value, row ? reading(of, position) : found.length ? exact(position) : "");
    }
  }

  function along(event) {
    return event.clientX - plot.getBoundingClientRect().left - MARGIN.left;
  }

  function select(from, to) {
    const [left, right] = [from, to].sort((a, b) => a - b);
    const size = { x: left, y: 0, width: right - left, height: tall };
    crosshair.append(svg("rect", { class: "selection", ...size }));
  }

  function release(event) {
    if (pressed === null) return;
    const [from, to] = [pressed, along(event)].sort((a, b) => a - b);
    pressed = null;
    if (to - from < DRAG) return;
    chart.zoomed([x.value(Math.max(0, from)), x.value(Math.min(width, to))]);
  }

  function keyed(event) {
    if (!x || event.ctrlKey || event.metaKey || event.altKey) return;
    const zooms = { "+": 0.5, "=": 0.5, "-": 2, "_": 2 };
    if (event.key in zooms) {
      event.preventDefault();
      return closer(zooms[event.key]);
    }
    if (event.key === "0") return void chart.zoomed(null);
    if (event.key === "Escape") return void chart.moved(null);
    walk(event);
  }

  /** Zooms to what is `factor` as wide, around the crosshair or the middle. */
  function closer(factor) {
    if (!x) return;
    const middle = cursor === null ? width / 2 : x.at(cursor);
    chart.zoomed([0, width].map((edge) => x.value(middle + (edge - middle) * factor)));
  }

  function walk(event) {
    const path = model.curves.find((curve) => curve.x.length)?.x;
    const stride = event.shiftKey ? 10 : 1;
    const moves = { ArrowLeft: -stride, ArrowRight: stride, Home: -Infinity, End: Infinity };
    if (!path || !(event.key in moves)) return;
    event.preventDefault();
    const from = cursor === null ? -1 : closest(path, cursor, x);
    chart.moved(path[Math.min(path.length - 1, Math.max(0, from + moves[event.key]))]);
  }
}

function dress(node, { tone, color }) {
  if (color) node.style.setProperty("--tone", color);
  else node.classList.add(`tone-${tone}`);
  return node;
}

/** Charts over one x: the crosshair of one is the crosshair of all, and so is the zoom. */
export function link(charts, zoomed) {
  for (const chart of charts) {
    chart.moved = (x) => charts.forEach((each) => each.point(x));
    if (zoomed) chart.zoomed = zoomed;
  }
}
