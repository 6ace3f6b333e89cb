/** A line chart in SVG: axes, band, marks, crosshair with exact values, and its data as a table. */

import { el, setText, svg } from "./dom.js";
import { scale, short } from "./numbers.js";

const MARGIN = { top: 8, right: 14, bottom: 38, left: 58 };
const NEAR = 12; // px between the crosshair and a point it still speaks of
const LINE = 15; // px between labels above one another
const LETTER = 7; // px of a label's letter, roughly
const EXACT = 9; // significant digits that tell any two floats of 32 bits apart

/**
 * A chart whose `update(model)` draws it anew. The model:
 *   x, y: {label, log, limits: [from, to]}
 *   curves: [{label, tone, x: [], y: [], dots, stopped}], ascending in x, null where not finite
 *   band: {from, to, label} or null; marks: [{x, label, after}], `after` says on which side of
 *   its line the label stands; note: text under the chart
 */
export function createChart(title, height) {
  const plot = svg("svg", { class: "plot", height, tabindex: 0, role: "img" });
  const crosshair = svg("g", { class: "crosshair" });
  const legend = el("output", { class: "legend" });
  const note = el("p", { class: "note" });
  const table = el("table");
  const scroll = el("div", { class: "scroll", tabindex: 0, role: "region" }, table);
  const details = el("details", {}, el("summary", {}, "Data"), scroll);
  const heading = el("figcaption", {}, title);
  const element = el("figure", { class: "chart" }, heading, legend, plot, note, details);
  scroll.setAttribute("aria-label", `Data: ${title}`);

  const chart = { element, update, point, moved: point };
  let model, x, y, readings;
  let cursor = null; // where the crosshair stands, in units of x

  new ResizeObserver(draw).observe(plot);
  details.addEventListener("toggle", fill);
  plot.addEventListener("pointermove", (event) => {
    const left = plot.getBoundingClientRect().left + MARGIN.left;
    if (x) chart.moved(x.value(event.clientX - left));
  });
  plot.addEventListener("pointerleave", () => chart.moved(null));
  plot.addEventListener("blur", () => chart.moved(null));
  plot.addEventListener("keydown", walk);
  return chart;

  function update(next) {
    model = next;
    const described = model.curves.map((curve) => curve.label).join(", ");
    const label = `${title}: ${described}. Arrow keys read the values; the data follow as a table.`;
    plot.setAttribute("aria-label", label);
    setText(note, model.note);
    listCurves();
    draw();
    fill();
  }

  function listCurves() {
    const item = (tone, label) => {
      const value = el("b");
      const swatch = tone ? [el("i", { class: `swatch tone-${tone}` })] : [];
      return { label, value, item: el("span", {}, ...swatch, `${label} `, value) };
    };
    const tones = new Map(model.curves.map((curve) => [curve.label, curve.tone]));
    readings = [...tones].map(([label, tone]) => item(tone, label));
    readings.unshift(item(null, model.x.label));
    legend.replaceChildren(...readings.map((each) => each.item));
  }

  function draw() {
    const width = plot.clientWidth - MARGIN.left - MARGIN.right;
    if (!model || width <= 0) return;
    const tall = height - MARGIN.top - MARGIN.bottom;
    x = scale(model.x.log, model.x.limits, [0, width]);
    y = scale(model.y.log, model.y.limits, [tall, 0]);
    const inner = svg("svg", { width, height: tall, role: "none" }, ...shapes(tall));
    const origin = `translate(${MARGIN.left} ${MARGIN.top})`;
    const parts = [...axes(width, tall), inner, ...labels(width), crosshair];
    plot.replaceChildren(svg("g", { transform: origin }, ...parts));
    point(cursor);
  }

  function axes(width, tall) {
    const parts = [];
    for (const { value, label } of x.ticks(Math.max(2, Math.floor(width / 55)))) {
      const at = x.at(value);
      parts.push(rule(label, `M${at} ${tall}v${label ? -tall : 5}`));
      if (!label) continue;
      const edge = width + MARGIN.right;
      const cut = at + (label.length * LETTER) / 2 > edge;
      parts.push(text(cut ? edge : at, tall + 17, label, cut ? "end" : "middle"));
    }
    for (const { value, label } of y.ticks(Math.max(2, Math.floor(tall / 32)))) {
      const at = y.at(value);
      parts.push(rule(label, `M0 ${at}h${label ? width : -5}`));
      if (label) parts.push(text(-7, at + 4, label, "end"));
    }
    parts.push(svg("path", { class: "axis", d: `M0 0V${tall}H${width}` }));
    parts.push(text(width / 2, tall + 34, model.x.label, "middle", "name"));
    return parts;
  }

  function shapes(tall) {
    const parts = [];
    if (model.band) {
      const [from, to] = [x.at(model.band.from), x.at(model.band.to)];
      parts.push(svg("rect", { class: "band", x: from, y: 0, width: to - from, height: tall }));
    }
    for (const mark of model.marks)
      parts.push(svg("path", { class: "mark", d: `M${x.at(mark.x)} 0V${tall}` }));
    for (const curve of model.curves) {
      const shape = `curve tone-${curve.tone} ${curve.dots ? "strong" : ""}`;
      parts.push(svg("path", { class: shape, d: line(curve) }));
      if (curve.dots)
        for (const [index, value] of curve.y.entries())
          if (shows(value)) parts.push(dot(curve, index));
      if (curve.stopped)
        parts.push(svg("path", { class: shape + " strong", d: cross(x.at(curve.x.at(-1)), 8) }));
    }
    return parts;
  }

  function labels(width) {
    const { band, marks } = model;
    const notes = band ? [{ x: band.from, label: band.label, kind: "band" }, ...marks] : marks;
    return notes.map(({ x: value, label, after, kind = "mark" }, row) => {
      const at = x.at(value);
      const room = label.length * LETTER;
      const right = after ? at + room < width : at < room;
      return text(at + (right ? 5 : -5), 12 + row * LINE, label, right ? "start" : "end", kind);
    });
  }

  function line(curve) {
    let path = "";
    let pen = "M";
    curve.y.forEach((value, index) => {
      if (!shows(value)) return void (pen = "M");
      path += `${pen}${x.at(curve.x[index]).toFixed(1)} ${y.at(value).toFixed(1)}`;
      if (pen === "M") path += "h0"; // a lone point shows as a dot
      pen = "L";
    });
    return path;
  }

  /** Moves the crosshair to the point nearest to `target`, or takes it away. */
  function point(target) {
    cursor = target;
    const found = target === null ? [] : nearest(target);
    const position = found[0]?.curve.x[found[0].index];
    crosshair.replaceChildren();
    if (found.length) {
      const at = x.at(position);
      const tall = height - MARGIN.top - MARGIN.bottom;
      crosshair.append(svg("path", { d: `M${at} 0V${tall}` }));
      for (const { curve, index } of found) {
        const up = shows(curve.y[index]) ? y.at(curve.y[index]) : -1;
        if (up >= 0 && up <= tall) crosshair.append(dot(curve, index));
      }
    }
    for (const [row, { label, value }] of readings.entries()) {
      const of = found.filter((each) => each.curve.label === label);
      setText(value, row ? reading(of, position) : found.length ? short(position, EXACT) : "");
    }
  }

  function nearest(target) {
    const hits = model.curves.filter((curve) => curve.x.length).map((curve) => {
      const index = closest(curve.x, target);
      return { curve, index, off: Math.abs(x.at(curve.x[index]) - x.at(target)) };
    });
    hits.sort((a, b) => a.off - b.off);
    const at = (hit) => x.at(hit.curve.x[hit.index]);
    return hits.filter((hit) => Math.abs(at(hit) - at(hits[0])) <= NEAR);
  }

  function closest(values, target) {
    let [low, high] = [0, values.length - 1];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (values[middle] < target) low = middle;
      else high = middle;
    }
    const off = (index) => Math.abs(x.at(values[index]) - x.at(target));
    return off(low) <= off(high) ? low : high;
  }

  function walk(event) {
    const path = model?.curves.find((curve) => curve.x.length)?.x;
    const stride = event.shiftKey ? 10 : 1;
    const moves = { ArrowLeft: -stride, ArrowRight: stride, Home: -Infinity, End: Infinity };
    if (event.key === "Escape") chart.moved(null);
    if (!path || !(event.key in moves)) return;
    event.preventDefault();
    const from = cursor === null ? -1 : closest(path, cursor);
    chart.moved(path[Math.min(path.length - 1, Math.max(0, from + moves[event.key]))]);
  }

  function fill() {
    if (!details.open || !model) return;
    const merged = new Map();
    model.curves.forEach((curve, column) =>
      curve.x.forEach((at, index) => {
        if (!merged.has(at)) merged.set(at, Array(model.curves.length).fill(""));
        merged.get(at)[column] = curve.y[index] ?? "not finite";
      }),
    );
    const names = [model.x.label, ...model.curves.map((curve) => curve.name ?? curve.label)];
    const heads = names.map((name) => el("th", { scope: "col" }, name));
    const rows = [...merged].sort(([a], [b]) => a - b).map(([at, values]) =>
      el("tr", {}, ...[at, ...values].map((value) => el("td", {}, String(value)))),
    );
    table.replaceChildren(el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows));
  }

  function dot(curve, index) {
    const [cx, cy] = [x.at(curve.x[index]), y.at(curve.y[index])];
    return svg("circle", { class: `dot tone-${curve.tone}`, cx, cy, r: 3 });
  }

  function shows(value) {
    return value !== null && !(model.y.log && value <= 0);
  }
}

/** Charts over one x: the crosshair of one is the crosshair of all. */
export function link(charts) {
  for (const chart of charts) chart.moved = (x) => charts.forEach((each) => each.point(x));
}

/** The values of the points of one entry of the legend, and where, if not at the crosshair. */
function reading(points, position) {
  const values = points.map(({ curve, index }) => curve.y[index]);
  const at = points[0]?.curve.x[points[0].index] ?? position;
  const where = at === position ? "" : ` at ${short(at, EXACT)}`;
  if (values.includes(null)) return `not finite${where}`;
  const ends = values.length > 1 ? [Math.min(...values), Math.max(...values)] : values;
  return ends.map((each) => short(each, EXACT)).join(" … ") + where;
}

const rule = (label, d) => svg("path", { class: label ? "grid" : "tick", d });
const cross = (x, y) => `M${x - 5} ${y - 5}l10 10m-10 0l10 -10`;
const text = (x, y, words, anchor, kind = "") =>
  svg("text", { x, y, "text-anchor": anchor, class: kind }, words);
