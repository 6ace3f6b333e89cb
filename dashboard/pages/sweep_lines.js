/** The parameters of a sweep and what came of them, as lines over parallel axes. */

import { href } from "../address.js";
import { createParallel } from "../charts/parallel.js";
import { el } from "../dom.js";

const MOST_AXES = 12;

/** Brushes are in the address, as JSON under `keep`; `narrowed` hears which rows they leave. */
export function createLines(context, narrowed) {
  const chart = createParallel("Parameters and objective");
  const element = el("section", { hidden: "" }, el("h2", {}, "Every job"), chart.element);
  let seen = null;
  chart.chosen = (id) => (location.hash = href("jobs", id));
  chart.brushed = (path, pair) => {
    const brushes = brushesOf(context.view);
    if (pair) brushes[path] = pair;
    else delete brushes[path];
    context.turn({ keep: Object.keys(brushes).length ? JSON.stringify(brushes) : null });
  };
  return { element, show, draw };

  function show(sweep, data) {
    if (seen?.data !== data) seen = { sweep, data };
    draw();
  }

  function draw() {
    if (!seen) return;
    const { spec: { space = {}, objective } } = seen.sweep;
    const rows = seen.data.filter((row) => row.value !== null && !row.short);
    const given = (path) => new Set(rows.map((row) => JSON.stringify(row.parameters[path])));
    const paths = [...new Set(rows.flatMap((row) => Object.keys(row.parameters)))]
      .filter((path) => [...given(path)].filter(Boolean).length > 1).slice(0, MOST_AXES);
    element.hidden = rows.length < 2 || !paths.length;
    if (element.hidden) return narrowed(null);
    const values = rows.map((row) => row.value);
    const axes = paths.map((path) => {
      const own = rows.map((row) => row.parameters[path] ?? null);
      return { path, label: path.split("/").at(-1), log: bent(space[path], own), values: own };
    });
    axes.push({ path: "", label: objective.metric, log: false, values });
    const full = rows.map((row, index) => (row.stopped ? null : index)).filter((at) => at !== null);
    const better = (a, b) =>
      (objective.direction === "maximize" ? values[b] > values[a] : values[b] < values[a]);
    const best = full.length ? full.reduce((a, b) => (better(a, b) ? b : a)) : null;
    const lines = rows.map(({ job: id, number, value }) => ({ id, number, label: `#${number}`, value }));
    const left = chart.update({ axes, rows: lines, brushes: brushesOf(context.view), best,
      direction: objective.direction });
    narrowed(left && new Set(left.map(({ number }) => number)));
  }
}

/** Whether an axis is logarithmic: as its space is, or its values span two orders of ten. */
function bent(field, values) {
  if (field?.low !== undefined || field?.distribution)
    return Boolean(field.log) || field.distribution === "lognormal";
  const given = values.filter((value) => value !== null);
  if (!given.every((value) => typeof value === "number" && value > 0)) return false;
  return Math.max(...given) / Math.min(...given) >= 30;
}

/** What the address keeps: `{pointer: [from, to]}`, shares of the axes. */
function brushesOf(view) {
  let given;
  try {
    given = JSON.parse(view.get("keep") ?? "{}");
  } catch {
    return {}; // an address that somebody has cut
  }
  const share = (value) => typeof value === "number" && value >= 0 && value <= 1;
  const valid = (pair) => Array.isArray(pair) && pair.length === 2 && pair.every(share);
  return Object.fromEntries(Object.entries(given ?? {}).filter(([, pair]) => valid(pair)));
}
