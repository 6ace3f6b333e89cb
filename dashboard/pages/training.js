/** The pictures of a training on one axis: loss, accuracy, learning rate, momentum, and more. */

import { pairOf } from "../address.js";
import { get } from "../api.js";
import { createChart, link } from "../charts/chart.js";
import { around, extent, lossLimits, visible } from "../charts/scales.js";
import { smoothed } from "../charts/smoothing.js";
import { choice, smoothing, tick, zoom } from "../controls.js";
import { el } from "../dom.js";
import { AXES, axisOf } from "./clock.js";
import { KINDS, marksOf } from "./marks.js";
import { notes, recordedBy, viewOf } from "./views.js";

const CHARTS = [
  { name: "loss", title: "Loss", height: 300 },
  { name: "accuracy", title: "Accuracy", height: 200 },
  { name: "lr", title: "Learning rate", height: 170 },
  { name: "momentum", title: "Momentum", height: 140 },
  { name: "grad_norm", title: "Gradient norm", height: 170 },
  { name: "probe_loss", title: "Loss of the probe batch", height: 170 },
];

/** `refresh(job)` fetches and draws, `draw()` draws what is there as the address now says. */
export function trainingCharts(context) {
  const turn = (changes) => context.turn(changes);
  const across = choice("Against", "x", AXES, turn);
  const smooth = smoothing(turn, 1);
  const log = tick("log loss", "log", turn);
  const rates = tick("log rate", "lograte", turn);
  const all = zoom(turn, () => charts.get("loss"));
  const controls = [across, smooth, log, rates, all].map((each) => each.element);
  const key = el("p", { class: "key" });
  const pictures = el("div");
  const element = el("div", {}, el("div", { class: "controls" }, ...controls), key, pictures);
  const charts = new Map();
  let seen = null;
  let axis = null;
  return { element, refresh, draw };

  async function refresh(job) {
    const part = pairOf(context.view.get("zoom"));
    const [start, stop] = part ? [Math.max(0, Math.floor(part[0])), Math.ceil(part[1]) + 1] : [];
    // each on its own, since a view keeps the extremes of the first name only
    const names = recordedBy(job);
    const metrics = metricsOf(job).map(({ name }) => name);
    const [validation, ...columns] = await Promise.all([
      viewOf(job, ["val_accuracy", "val_loss", ...metrics]),
      ...names.map((name) => viewOf(job, [name], { start, stop })),
    ]);
    const some = job.checkpoint !== null;
    const checkpoints = some ? (await get(`v1/jobs/${job.id}/checkpoints`)).data : [];
    const views = new Map(names.map((name, index) => [name, columns[index]]));
    seen = { job, views, validation, checkpoints };
    draw();
  }

  function draw() {
    if (!seen) return;
    const { view } = context;
    const { job, views, validation, checkpoints } = seen;
    const pictured = [...CHARTS, ...metricsOf(job)];
    const rows = views.get("loss");
    element.hidden = rows.returned === 0 && !view.has("zoom"); // `auto` begins with a range test
    const offset = job.spec.schedule.policy === "auto" ? job.progress.iteration - lastOf(rows) : 0;
    axis = axisOf(across.read(view), job, offset);
    const part = pairOf(view.get("zoom"))?.map(axis.at);
    const settings = { width: smooth.read(view), log: log.read(view), lograte: rates.read(view) };
    all.read(view);
    const x = axisModel(rows, validation, axis, part);
    const marks = marksOf(job, checkpoints).map((mark) => ({ ...mark, x: axis.at(mark.x) }));
    explain(marks);
    const shown = { views, validation, x, marks, part, settings };
    arrange(pictured, pictured.map(({ name }) => model(name, shown)));
  }

  /** Charts for the models that there are, in their order. */
  function arrange(pictured, models) {
    pictured.forEach(({ name, title, height }, index) => {
      if (models[index] && !charts.has(name)) charts.set(name, createChart(title, height));
    });
    const shown = pictured.filter((_, index) => models[index]).map(({ name }) => charts.get(name));
    const wanted = shown.map((each) => each.element);
    const there = [...pictures.children];
    if (wanted.length !== there.length || wanted.some((each, index) => each !== there[index])) {
      pictures.replaceChildren(...wanted);
      link(shown, zoomed);
    }
    models.filter(Boolean).forEach((each, index) => shown[index].update(each));
  }

  function zoomed(pair) {
    const [from, to] = pair?.map(axis.back) ?? [];
    turn({ zoom: pair && `${Math.max(0, Math.floor(from))}~${Math.ceil(to)}` });
  }

  function model(name, { views, validation, x, marks, part, settings }) {
    const rows = views.get(name);
    const curves = rows ? rawAndSmooth(rows, name, x, settings.width) : [];
    const measured = { loss: "val_loss", accuracy: "val_accuracy" }[name] ?? name;
    if (validation.columns[measured]?.length) curves.push(validated(validation, measured));
    if (!curves.length) return null;
    const lists = part ? visible(curves, x.limits) : curves.map((curve) => curve.y);
    const named = name === "loss" ? marks : marks.map((mark) => ({ ...mark, label: "" })); // once
    const said = rows ? [rows] : [];
    if (name === "loss" || name === "probe_loss") {
      const { log: bent } = settings;
      const most = lossLimits(lists, () => 5, bent);
      const { limits, cut } = part ? { limits: around(lists, { log: bent }), cut: null } : most;
      return { x, y: { log: bent, limits }, curves, marks: named, note: notes(cut, said) };
    }
    const log = name === "lr" && settings.lograte;
    const always = name === "lr" && !log && !part ? [0] : [];
    const limits = around(lists, { always, log });
    return { x, y: { log, limits }, curves, marks: named, note: "" };
  }

  function rawAndSmooth(rows, name, x, width) {
    const tone = { lr: 3, momentum: 2, accuracy: 2 }[name] ?? 1;
    const batch = ["loss", "accuracy"].includes(name);
    const label = batch ? "training (per batch)" : name.replace("_", " ");
    const raw = { label, tone, x: rows.columns.iteration.map(axis.at), y: rows.columns[name] };
    if (!(width > 0) || name === "lr" || name === "momentum") return [raw];
    const y = smoothed(raw.x, raw.y, width * (x.limits[1] - x.limits[0]));
    const smooth = `${batch ? "training" : label}, smoothed`;
    return [{ ...raw, ghost: true }, { ...raw, label: smooth, derived: true, y }];
  }

  function validated(validation, name) {
    const tone = name === "val_loss" ? 2 : 4;
    const places = validation.columns.iteration.map(axis.at);
    return { label: "validation", tone, dots: true, x: places, y: validation.columns[name] };
  }

  /** Which line means what, of the kinds that are in the picture. */
  function explain(marks) {
    const kinds = Object.keys(KINDS).filter((kind) => marks.some((mark) => mark.kind === kind));
    key.replaceChildren(...kinds.map((kind) =>
      el("span", {}, el("i", { class: `stroke ${kind}` }), ` ${KINDS[kind]} `)));
  }
}

/** A picture for each metric that is measured at the evaluations. */
function metricsOf(job) {
  return (job.spec.metrics ?? []).map(({ name }) =>
    ({ name: `val_${name}`, title: `Validation ${name.replaceAll("_", " ")}`, height: 170 }));
}

const lastOf = (rows) => (rows.columns.iteration.at(-1) ?? -1) + 1;

function axisModel(rows, validation, axis, part) {
  const first = rows.columns.iteration[0] ?? 0; // not 0 where it goes on from another job
  const at = [first, first + 1, ...rows.columns.iteration, ...validation.columns.iteration];
  const limits = part ?? extent(at).map(axis.at);
  return { label: axis.label, log: false, limits };
}
