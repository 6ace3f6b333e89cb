/** The pictures of a range test: every repeat and their median against the learning rate. */

import { href, pairOf } from "../address.js";
import { createChart, link } from "../charts/chart.js";
import { around, extent, lossLimits, visible } from "../charts/scales.js";
import { pointwiseMedian, smoothed } from "../charts/smoothing.js";
import { smoothing, tick, zoom } from "../controls.js";
import { el } from "../dom.js";
import { short } from "../numbers.js";
import { notes, viewOf } from "./views.js";

const APART = 8; // more repeats than these are one entry of the legend
const TONES = 4;
const SMOOTH = 2; // percent

const SURE = "darker green: where 90 % of resampled repeats put the upper end";

const LANDMARKS = {
  lr_start: { label: "descent begins" },
  lr_steep: { label: "steepest" },
  lr_min: { label: "minimum" },
  lr_edge: { label: "edge of stability", after: true },
  lr_ragged: { label: "ragged", after: true },
};

/** What a job says of its range test: its own, or under `auto` the one that it begins with. */
export function rangeTestOf(job) {
  const auto = job.kind === "training";
  const { range, repeats } = auto ? job.spec.schedule : job.spec;
  const result = (auto ? job.result?.range_test : job.result) ?? {};
  const name = (quantity) => (auto ? `range_${quantity}` : quantity);
  return { range, repeats, result, name, record: job.spec.record, over: Boolean(job.result) };
}

/** `refresh(job)` fetches and draws, `draw()` draws what is there as the address now says. */
export function rangeTestCharts(context) {
  const turn = (changes) => context.turn(changes);
  const zoomed = (pair) => turn({ lr: pair && pair.map((each) => short(each, 6)).join("~") });
  const loss = createChart("Training loss against learning rate", 400);
  const smooth = smoothing(turn, SMOOTH);
  const log = tick("log loss", "loglr", turn);
  const peers = tick("other finders", "peers", turn);
  const all = zoom(turn, () => loss, "lr");
  const use = el("a", { class: "button primary", hidden: "" }, "Train with this");
  const controls = [smooth, log, peers, all].map((each) => each.element);
  const bar = el("div", { class: "controls" }, ...controls, use);
  const element = el("div", {}, bar, loss.element);
  const complete = []; // views of every repeat, all of it
  let settled = 0; // repeats that were over before they were last read
  let detail = null; // {key, views} of the part that is zoomed into
  let accuracy = null;
  let seen = null;
  link([loss], zoomed);
  return { element, refresh, draw };

  async function refresh(job) {
    const test = rangeTestOf(job);
    const names = ["loss", "lr", ...(test.record.includes("accuracy") ? ["accuracy"] : [])];
    const columns = names.map(test.name);
    const over = Math.max(complete.length - 1, 0);
    for (let repeat = settled; repeat < test.repeats; repeat++) {
      const rows = await viewOf(job, columns, { repeat });
      if (!rows.returned) break;
      complete[repeat] = rows;
    }
    settled = over;
    detail = await zoomedInto(job, test, columns);
    seen = { job, test, measured: names.length > 2 };
    draw();
  }

  /** Views of the part in the picture, with all its rows; null where the whole ones have them. */
  async function zoomedInto(job, test, columns) {
    const part = pairOf(context.view.get("lr"));
    if (!part || !complete.some((rows) => rows.reduced)) return null;
    const views = complete.map((rows, repeat) => {
      const { iteration } = rows.columns;
      const rates = rows.columns[test.name("lr")];
      const first = Math.max(0, rates.findIndex((lr) => lr >= part[0]) - 1);
      const last = rates.findLastIndex((lr) => lr <= part[1]) + 1;
      const [start, stop] = [iteration[first], (iteration[last] ?? iteration.at(-1)) + 1];
      return viewOf(job, columns, { repeat, start, stop });
    });
    return Promise.all(views);
  }

  function draw() {
    if (!seen || !complete.length) return;
    const { view } = context;
    const { job, test, measured } = seen;
    const width = smooth.read(view);
    const options = { width, log: Boolean(log.read(view)), part: pairOf(view.get("lr")) };
    options.peers = peers.read(view);
    all.read(view);
    peers.element.hidden = !test.result.compat;
    use.hidden = !test.result.suggestion || job.kind !== "range_test"; // `auto` trains by itself
    use.href = href("new", null, { from: job.id });
    const views = detail ?? complete;
    loss.update(lossModel(test, complete, views, options));
    if (!measured) return;
    if (!accuracy) {
      accuracy = createChart("Training accuracy against learning rate", 240);
      element.append(accuracy.element);
      link([loss, accuracy], zoomed);
    }
    accuracy.update(accuracyModel(test, complete, views, options));
  }
}

/** Each repeat raw and smooth, and the median of those that are there. */
function curvesOf(test, views, quantity, { width, span }) {
  const together = test.repeats > APART;
  const log = test.range.ramp === "exponential";
  const smooth = (x, y) => smoothed(x, y, width * span, log);
  const raw = views.map((rows, index) => ({
    label: together ? `${views.length} repeats` : `repeat ${index + 1}`,
    name: `${quantity} of repeat ${index + 1}`,
    tone: together ? 1 : 1 + (index % TONES),
    x: rows.columns[test.name("lr")],
    y: rows.columns[test.name(quantity)],
  }));
  const curves = raw.map((curve) => ({ ...curve, ghost: width > 0 || views.length > 1 }));
  if (width > 0)
    for (const curve of raw) {
      const y = smooth(curve.x, curve.y);
      curves.push({ ...curve, label: `${curve.label}, smoothed`, derived: true, quiet: true, y });
    }
  if (views.length < 2) return curves;
  const median = pointwiseMedian(raw);
  const y = width > 0 ? smooth(median.x, median.y) : median.y;
  const label = width > 0 ? "median, smoothed" : "median";
  return [...curves, { label, tone: "ink", strong: true, derived: true, x: median.x, y }];
}

function rateAxis({ range, name }, whole, part) {
  const rates = whole.flatMap((rows) => rows.columns[name("lr")]);
  const limits = part ?? extent([range.start, range.end, ...rates]);
  return { label: "learning rate", log: range.ramp === "exponential", limits };
}

const spanOf = ({ log, limits: [from, to] }) => (log ? Math.log10(to / from) : to - from);

function lossModel(test, whole, views, { width, log, part, peers }) {
  const { range, result, over } = test;
  const x = rateAxis(test, whole, part);
  const curves = curvesOf(test, views, "loss", { width, span: spanOf(x) });
  const ends = [range.iterations, result.range?.iterations]; // of the ramp as asked for, as it ran
  const stopped = (rows, index) =>
    !ends.includes(rows.next_start) && (index < whole.length - 1 || over);
  whole.forEach((rows, index) => (curves[index].stopped = stopped(rows, index)));
  const raw = curves.filter((curve) => !curve.derived);
  const bounded = part ? visible(raw, part) : raw.map((curve) => curve.y);
  const most = lossLimits(bounded, (length) => length / 10, log);
  const { limits, cut } = part ? { limits: around(bounded, { log }), cut: null } : most;
  const some = curves.some((curve) => curve.stopped);
  return {
    x,
    y: { log, limits },
    curves,
    bands: bandsOf(result),
    marks: marksOf(result, peers),
    note: notes(cut, views, some && "× stopped: it diverges", result.interval?.max_lr && SURE),
  };
}

function bandsOf({ suggestion, interval }) {
  if (!suggestion) return [];
  const { base_lr: from, max_lr: to } = suggestion;
  const label = `suggested: ${short(from)} to ${short(to)}`;
  const bands = [{ from, to, label, kind: "suggested" }];
  const sure = interval?.max_lr;
  if (sure) bands.push({ from: sure[0], to: sure[1], label: "", kind: "interval" });
  return bands;
}

function marksOf({ landmarks, compat, checks }, peers) {
  const known = Object.entries(LANDMARKS);
  const marks = known.map(([name, mark]) => ({ x: landmarks?.[name], ...mark }));
  if (peers) {
    for (const [name, x] of Object.entries(compat ?? {}))
      marks.push({ x, label: name.replaceAll("_", " "), kind: "peer" });
    for (const [name, check] of Object.entries(checks ?? {}))
      marks.push({ x: check?.lr, label: name.replaceAll("_", " "), kind: "peer" });
  }
  return marks.filter((mark) => mark.x).sort((a, b) => a.x - b.x);
}

function accuracyModel(test, whole, views, { width, part }) {
  const x = rateAxis(test, whole, part);
  const curves = curvesOf(test, views, "accuracy", { width, span: spanOf(x) });
  const values = part ? visible(curves, part) : curves.map((curve) => curve.y);
  const bands = bandsOf(test.result).slice(0, 1);
  return { x, y: { limits: around(values) }, curves, bands, note: "" };
}
