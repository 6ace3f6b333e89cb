/** Any jobs in one picture, colours by a setting, and a table of what differs between them. */

import { href, pairOf } from "../address.js";
import { ApiError, get } from "../api.js";
import { createChart, link } from "../charts/chart.js";
import { coloursOf } from "../charts/colours.js";
import { around, extent, lossLimits, visible } from "../charts/scales.js";
import { smoothed } from "../charts/smoothing.js";
import { choice, smoothing, tick, zoom } from "../controls.js";
import { figureOf, finished, moving, titleOf } from "../describe.js";
import { el, setText } from "../dom.js";
import { short } from "../numbers.js";
import { AXES, axisOf } from "./clock.js";
import { differing } from "./differences.js";
import { createFollowing } from "./following.js";
import { recordedBy } from "./views.js";

const TOGETHER = 50; // jobs in one request, and in one picture
const POINTS = 500;
const NAMED = 3; // settings that name a curve
const AFRESH = 10_000; // ms after which a job is asked for that is followed, or has ended
const METRICS = ["loss", "val_loss", "val_accuracy", "lr", "accuracy", "momentum"];
const RATE = ["lr", "learning rate"];

export function createComparePage(context) {
  const turn = (changes) => context.turn(changes);
  const metrics = METRICS.map((name) => [name, name.replace("_", " ")]);
  const metric = choice("Compare", "y", metrics, turn);
  const across = choice("against", "x", [...AXES, RATE], turn);
  const tint = choice("colours", "colour", [["", "by job"]], turn);
  const smooth = smoothing(turn, 2);
  const [log, logx] = [tick("log y", "log", turn), tick("log x", "logx", turn)];
  const all = zoom(turn, () => chart);
  const controls = [metric, across, tint, smooth, log, logx, all].map((each) => each.element);
  const chart = createChart("Comparison", 420);
  const table = el("table", { class: "list differences" });
  const scroll = el("div", { class: "scroll tall", tabindex: 0, role: "region" }, table);
  scroll.setAttribute("aria-label", "Settings that differ");
  const share = el("button", { type: "button", onclick: copy }, "Copy link");
  const shown = el("div", {}, el("div", { class: "controls" }, ...controls, share), chart.element,
    el("h2", {}, "What differs"), scroll);
  const empty = el("p", { class: "empty" }, "Choose jobs to compare: tick some in ",
    el("a", { href: href("jobs") }, "the table of jobs"),
    ", and follow the button beside its filters.");
  const missing = el("p", { class: "problem", role: "alert" });
  const element = el("section", {}, el("h1", {}, "Compare"), missing, empty, shown);
  const following = createFollowing(element, context.wake);
  const held = new Map(); // id -> {job, at}: as it was asked for, null where there is none, and when
  let seen = { jobs: [], views: [], name: null, of: null };
  const rounded = (value) => Number(value.toPrecision(6));
  link([chart], (pair) => turn({ zoom: pair?.map(rounded).join("~") }));
  return { element, title: "Compare", refresh, turned: draw, leave: following.leave };

  function ids() {
    const given = (context.view.get("jobs") ?? "").split(",").filter(Boolean);
    return [...new Set(given)].slice(0, TOGETHER);
  }

  async function refresh() {
    const wanted = ids();
    empty.hidden = wanted.length > 0;
    shown.hidden = wanted.length === 0;
    const found = await Promise.all(wanted.map(jobOf));
    const jobs = found.filter(Boolean);
    const lost = wanted.filter((_, index) => !found[index]);
    setText(missing, lost.length ? `Not there any more, or not yours: ${lost.join(", ")}` : "");
    const name = metric.read(context.view);
    const rates = across.read(context.view) === "lr";
    const of = [name, rates, ...jobs.map(markOf)].join();
    const views = of === seen.of ? seen.views : await viewsOf(jobs, name, rates);
    if (wanted.join() !== ids().join()) return true;
    seen = { jobs, views, name, of };
    draw();
    following.follow(jobs.filter((job) => !finished(job)));
    return jobs.some(moving);
  }

  /** As it was last told; asked for where nobody tells, and now and then in any case. */
  async function jobOf(id) {
    const { job, at } = held.get(id) ?? { at: -Infinity };
    const now = performance.now();
    if (now - at < AFRESH && (!job || finished(job) || following.follows(id))) {
      const told = job && following.latest(job);
      if (told?.state === job?.state && told?.attempt === job?.attempt) return told;
    }
    following.forget(id); // a new attempt, or an end, is told of at length only where it is asked for
    const found = await existing(id);
    held.set(id, { job: found, at: now });
    return found;
  }

  function draw() {
    const { view } = context;
    const { jobs, views, name } = seen;
    if (!jobs.length || name !== metric.read(view)) return;
    const settings = differing(jobs);
    offer(settings);
    const setting = settings.find(({ path }) => path === tint.read(view));
    const colours = coloursOf(setting?.values ?? jobs.map((_, index) => index), !setting);
    const x = across.read(view);
    const part = pairOf(view.get("zoom"));
    const bent = { x: logx.read(view) || x === "lr", y: log.read(view) };
    logx.element.hidden = x === "lr";
    all.read(view);
    const width = smooth.read(view);
    const labels = labelsOf(jobs, settings);
    chart.update(modelOf({ jobs, labels, views, name, x, part, bent, width, colours }));
    list(jobs, settings, colours);
  }

  /** The settings that differ are what may colour the curves. */
  function offer(settings) {
    const there = [...tint.field.options].slice(1).map((option) => option.value);
    const paths = settings.map(({ path }) => path);
    if (there.join() === paths.join()) return;
    const options = paths.map((path) => el("option", { value: path }, `by ${path}`));
    tint.field.replaceChildren(tint.field.options[0], ...options);
  }

  function list(jobs, settings, colours) {
    const heads = ["Job", "State", ...settings.map(({ path }) => path), "Result", ""];
    const head = el("tr", {}, ...heads.map((name) => el("th", { scope: "col" }, name)));
    const rows = jobs.map((job, index) => {
      const swatch = el("i", { class: "swatch" });
      swatch.style.setProperty("--tone", colours[index]);
      const name = el("a", { href: href("jobs", job.id) }, titleOf(job));
      const values = settings.map((each) => el("td", {}, said(each.values[index])));
      const drop = el("button", { type: "button", onclick: () => without(job.id) }, "×");
      drop.setAttribute("aria-label", `Take ${titleOf(job)} out`);
      return el("tr", {}, el("th", { scope: "row" }, swatch, name),
        el("td", {}, el("span", { class: `state ${job.state}` }, job.state)), ...values,
        el("td", {}, figureOf(job)), el("td", {}, drop));
    });
    if (table.contains(document.activeElement) && document.activeElement !== document.body) return;
    table.replaceChildren(el("caption", { class: "hidden" }, "Settings that differ"),
      el("thead", {}, head), el("tbody", {}, ...rows));
  }

  function without(id) {
    document.activeElement?.blur();
    turn({ jobs: ids().filter((each) => each !== id).join(",") });
  }

  async function copy() {
    try {
      await navigator.clipboard.writeText(location.href);
      setText(share, "Copied");
    } catch {
      setText(share, "The address above is the link"); // browsers refuse it on plain HTTP
    }
  }
}

/** Another one when there may be more to draw. */
const markOf = ({ id, attempt, state, progress }) => `${id} ${attempt} ${state} ${progress.iteration}`;

async function existing(id) {
  try {
    return await get(`v1/jobs/${id}`);
  } catch (error) {
    if (error instanceof ApiError && [404, 422].includes(error.status)) return null;
    throw error;
  }
}

/** For each job its rows of `name`, or null where it records none. */
async function viewsOf(jobs, name, rates) {
  const names = rates ? [name, "lr"] : [name];
  const able = jobs.filter((job) => records(job, name) && !(rates && name.startsWith("val_")));
  if (!able.length) return jobs.map(() => null);
  const asked = able.map((job) => job.id).join(",");
  const { data } = await get(`v1/series?jobs=${asked}&names=${names.join(",")}&points=${POINTS}`);
  const views = new Map(data.map((rows) => [rows.job, rows]));
  return jobs.map((job) => views.get(job.id) ?? null);
}

function records(job, name) {
  if (job.progress.iteration === 0) return false;
  return name.startsWith("val_") || recordedBy(job).includes(name);
}

/** What the curves are called: as the jobs are, or where those are called alike, what differs. */
function labelsOf(jobs, settings) {
  const titles = jobs.map(titleOf);
  const alike = new Set(titles).size < titles.length && settings.length > 0;
  const some = settings.slice(0, NAMED);
  const words = (at) => some.map(({ path, values }) =>
    `${path.split("/").at(-1)} ${said(values[at])}`).join(", ");
  return jobs.map(({ id }, at) => `${alike ? words(at) : titles[at]} ${id.slice(-4)}`);
}

function modelOf({ jobs, labels: named, views, name, x, part, bent, width, colours }) {
  const axes = jobs.map((job) => axisOf(x, job));
  const raw = jobs.flatMap((job, index) => {
    const rows = views[index];
    if (!rows?.returned) return [];
    const places = x === "lr" ? rows.columns.lr : rows.columns.iteration.map(axes[index].at);
    const label = named[index];
    const dots = name.startsWith("val_");
    return { label, color: colours[index], dots, ...ascending(places ?? [], rows.columns[name]) };
  });
  const positive = (value) => !bent.x || value > 0;
  const limits = part ?? extent(raw.flatMap((curve) => curve.x).filter(positive));
  const fallback = limits[0] < limits[1] ? limits : [bent.x ? 0.1 : 0, 1];
  const span = bent.x ? Math.log10(fallback[1] / fallback[0]) : fallback[1] - fallback[0];
  const smooth = width > 0 && !name.startsWith("val_") && name !== "lr";
  const curves = raw.flatMap((curve) => {
    if (!smooth) return curve;
    const y = smoothed(curve.x, curve.y, width * span, bent.x);
    const label = `${curve.label}, smoothed`;
    return [{ ...curve, ghost: true }, { ...curve, label, derived: true, quiet: true, y }];
  });
  const lists = part ? visible(raw, part) : raw.map((curve) => curve.y);
  const losses = name.endsWith("loss") && !part;
  const most = losses ? lossLimits(lists, () => 5, bent.y).limits : around(lists, { log: bent.y });
  const labels = { epoch: "epoch", time: "seconds of training", lr: "learning rate" };
  const silent = jobs.filter((_, index) => !views[index]?.returned).map(titleOf);
  const note = silent.length ? `nothing recorded of it: ${silent.join(", ")}` : "";
  return {
    x: { label: labels[x] ?? "iteration", log: bent.x, limits: fallback },
    y: { log: bent.y, limits: most },
    curves,
    note,
  };
}

/** The first stretch in which x climbs: a rate that cycles has no curve over itself. */
function ascending(x, y) {
  let end = 1;
  while (end < x.length && x[end] >= x[end - 1]) end++;
  return end >= x.length ? { x, y } : { x: x.slice(0, end), y: y.slice(0, end) };
}

function said(value) {
  if (value === null) return "–";
  if (typeof value === "number") return short(value, 6);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
