/** The pictures of a job: what to fetch for them, and what is drawn. */

import { get } from "./api.js";
import { createChart, link } from "./chart.js";
import { el } from "./dom.js";
import { count, short } from "./numbers.js";

const POINTS = 1000; // rows of a view: about one for every pixel across
const TONES = 4;
const APART = 8; // more repeats than these are one entry of the legend

const LANDMARKS = {
  lr_start: { label: "descent begins" },
  lr_min: { label: "minimum" },
  lr_edge: { label: "edge of stability", after: true },
  lr_ragged: { label: "ragged", after: true },
};

const series = (job, names, repeat = 0) =>
  get(`v1/jobs/${job.id}/series?names=${names}&points=${POINTS}&repeat=${repeat}`);

/** What a job says of its range test: its own, or under the policy `auto` the one it begins with. */
function rangeTestOf(job) {
  const auto = job.kind === "training";
  const { range, repeats } = auto ? job.spec.schedule : job.spec;
  const result = (auto ? job.result?.range_test : job.result) ?? {};
  const name = (quantity) => (auto ? `range_${quantity}` : quantity);
  return { range, repeats, result, name, record: job.spec.record, over: Boolean(job.result) };
}

/** Loss against learning rate, every repeat; and accuracy, where it is recorded. */
export function rangeTestCharts() {
  const loss = createChart("Training loss against learning rate", 380);
  const repeats = [];
  let accuracy = null;
  let settled = 0; // repeats that were over before they were last read
  return { element: el("div", {}, loss.element), refresh };

  async function refresh(job) {
    const test = rangeTestOf(job);
    const measured = test.record.includes("accuracy");
    const names = ["loss", "lr", ...(measured ? ["accuracy"] : [])].map(test.name).join(",");
    const over = Math.max(repeats.length - 1, 0);
    for (let index = settled; index < test.repeats; index++) {
      const rows = await series(job, names, index);
      if (!rows.returned) break;
      repeats[index] = rows;
    }
    settled = over;
    loss.update(rangeTestModel(test, repeats));
    if (!measured) return;
    accuracy ??= below(loss, "Training accuracy against learning rate");
    accuracy.update(accuracyModel(test, repeats));
  }
}

function below(chart, title) {
  const other = createChart(title, 240);
  chart.element.after(other.element);
  link([chart, other]);
  return other;
}

function repeatCurves(test, repeats, quantity) {
  const together = test.repeats > APART;
  return repeats.map((rows, index) => ({
    label: together ? `${repeats.length} repeats` : `repeat ${index + 1}`,
    name: `${quantity} of repeat ${index + 1}`,
    tone: together ? 1 : 1 + (index % TONES),
    x: rows.columns[test.name("lr")],
    y: rows.columns[test.name(quantity)],
  }));
}

function rateAxis({ range }, curves) {
  const lr = curves.flatMap((curve) => curve.x);
  const limits = extent([range.start, range.end, ...lr]);
  return { label: "learning rate", log: range.ramp === "exponential", limits };
}

function bandOf({ suggestion }) {
  if (!suggestion) return null;
  const { base_lr: from, max_lr: to } = suggestion;
  return { from, to, label: `suggested: ${short(from)} to ${short(to)}` };
}

function rangeTestModel(test, repeats) {
  const { range, result, over } = test;
  const ends = [range.iterations, result.range?.iterations]; // of the ramp as asked for, as it ran
  const curves = repeatCurves(test, repeats, "loss");
  for (const [index, curve] of curves.entries()) {
    const last = repeats[index].next_start;
    curve.stopped = !ends.includes(last) && (index < repeats.length - 1 || over);
  }
  const loss = lossLimits(curves, (length) => length / 10);
  return {
    x: rateAxis(test, curves),
    y: { limits: loss.limits },
    curves,
    band: bandOf(result),
    marks: Object.entries(LANDMARKS)
      .map(([name, mark]) => ({ x: result.landmarks?.[name], ...mark }))
      .filter((mark) => mark.x)
      .sort((a, b) => a.x - b.x),
    note: notes(loss, repeats, curves.some((curve) => curve.stopped) && "× stopped: it diverges"),
  };
}

function accuracyModel(test, repeats) {
  const curves = repeatCurves(test, repeats, "accuracy");
  return { x: rateAxis(test, curves), y: { limits: padded(curves) }, curves, marks: [], note: "" };
}

/** Loss, validation accuracy and learning rate against iteration. */
export function trainingCharts() {
  const log = el("input", { type: "checkbox", onchange: () => seen && draw(...seen) });
  const loss = createChart("Loss", 280);
  const accuracy = createChart("Accuracy", 200);
  const rate = createChart("Learning rate", 180);
  const charts = [loss, accuracy, rate];
  let seen = null;
  link(charts);
  loss.element.querySelector("figcaption").append(el("label", {}, log, " logarithmic"));
  const element = el("div", {}, ...charts.map((chart) => chart.element));
  return { element, refresh };

  async function refresh(job) {
    // each on its own, since a view keeps the extremes of the first name only
    const names = ["loss", "lr", "val_accuracy,val_loss"];
    if (job.spec.record.includes("accuracy")) names.push("accuracy");
    seen = [job, ...(await Promise.all(names.map((each) => series(job, each))))];
    draw(...seen);
    element.hidden = seen[1].returned === 0; // under `auto`, the range test comes first
  }

  function draw(job, train, rates, validation, measured) {
    const line = (rows, name, label, tone, dots) =>
      ({ label, tone, dots, x: rows.columns.iteration, y: rows.columns[name] });
    const validated = (name, tone) => line(validation, name, "validation", tone, true);
    const losses = [line(train, "loss", "training (per batch)", 4), validated("val_loss", 1)];
    const accuracies = [validated("val_accuracy", 2)];
    if (measured) accuracies.unshift(line(measured, "accuracy", "training (per batch)", 4));
    const lrs = [line(rates, "lr", "lr", 3)];

    const first = train.columns.iteration[0] ?? 0; // not 0 where it goes on from another job
    const at = losses.flatMap((each) => each.x);
    const x = { label: "iteration", limits: extent([first, first + 1, ...at]) };
    const diverged = job.result?.diverged_at ?? null;
    const label = `diverged at ${count(diverged ?? 0)}`;
    const marks = diverged === null ? [] : [{ x: diverged, label, after: true }];
    const range = lossLimits(losses, () => 5, log.checked);
    const shared = { x, marks, note: "" };
    const y = { log: log.checked, limits: range.limits };
    loss.update({ ...shared, y, curves: losses, note: notes(range, [train]) });
    shared.marks = marks.map((mark) => ({ ...mark, label: "" })); // named once
    accuracy.update({ ...shared, y: { limits: padded(accuracies) }, curves: accuracies });
    rate.update({ ...shared, y: { limits: padded(lrs, 0) }, curves: lrs });
  }
}

/**
 * The losses that matter: above the start by more than half of the descent, a run diverges, and
 * its loss would flatten all the rest. `head` says how many rows of `length` are the start.
 */
function lossLimits(curves, head, log = false) {
  const counts = (value) => value !== null && (!log || value > 0);
  const known = curves.map((curve) => curve.y.filter(counts));
  const heads = known.map((values) => values.slice(0, Math.max(1, head(values.length))));
  const [lowest, highest] = extent(known.flat());
  const start = Math.max(...heads.map(median));
  if (lowest > highest) return { limits: log ? [0.1, 1] : [0, 1], cut: null };
  const drop = Math.max(start - lowest, 0.1 * Math.abs(start), 1e-12);
  const top = Math.min(highest, log ? 10 * start : start + 0.6 * drop);
  const limits = log ? [lowest * 0.9, top * 1.1] : [lowest - 0.08 * drop, top + 0.08 * drop];
  return { limits, cut: highest > limits[1] ? highest : null };
}

function padded(curves, ...always) {
  const [low, high] = extent([...always, ...curves.flatMap((curve) => curve.y)]);
  if (low > high) return [0, 1];
  const margin = 0.05 * (high - low) || 0.05 * Math.abs(high) || 1;
  return [always.includes(low) ? low : low - margin, high + margin];
}

function notes(loss, views, ...more) {
  const said = [...more];
  if (loss.cut !== null) said.push(`losses up to ${short(loss.cut)} lie above the picture`);
  const view = views.find((rows) => rows.reduced);
  if (view) {
    const share = `${count(view.returned)} of ${count(view.total_points)} iterations`;
    said.push(`${share}: the extremes of each ${view.reduced.bucket}`);
  }
  return said.filter(Boolean).join(" · ");
}

/** Smallest and largest finite value; the first is the larger where there is none. */
function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value === null) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted.length ? sorted[sorted.length >> 1] : -Infinity;
}
