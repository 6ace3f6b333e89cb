/** A sweep of range tests: the curves of its settings over each other, and which to train with. */

import { href, pairOf } from "../address.js";
import { get } from "../api.js";
import { createChart, link } from "../charts/chart.js";
import { coloursOf, placesOf } from "../charts/colours.js";
import { extent, lossLimits } from "../charts/scales.js";
import { smoothed } from "../charts/smoothing.js";
import { smoothing, zoom } from "../controls.js";
import { el, setText } from "../dom.js";
import { short } from "../numbers.js";
import { judged } from "./ranking.js";
import { endedOf, said } from "./sweeps.js";

const TOGETHER = 50; // jobs in one picture
const POINTS = 500;

export function createPicked(context) {
  const turn = (changes) => context.turn(changes);
  const chart = createChart("Loss against learning rate", 380);
  const smooth = smoothing(turn, 2);
  const all = zoom(turn, () => chart, "lr");
  const why = el("p", { class: "outcome" });
  const table = el("table", { class: "list" });
  const scroll = el("div", { class: "scroll", tabindex: 0, role: "region" }, table);
  scroll.setAttribute("aria-label", "Settings");
  const element = el("section", { hidden: "" }, el("h2", {}, "Which setting"), why,
    el("div", { class: "controls" }, smooth.element, all.element), chart.element, scroll);
  let seen = null;
  link([chart], (pair) => turn({ lr: pair?.map((each) => short(each, 6)).join("~") }));
  return { element, refresh, draw };

  async function refresh(sweep) {
    const ramps = sweep.spec.template.kind === "range_test" && endedOf(sweep) > 0;
    const told = ramps ? await judged(sweep, "pick") : null;
    element.hidden = !told?.settings.length;
    if (element.hidden) return;
    const jobs = told.settings.flatMap((each) => each.jobs).slice(0, TOGETHER);
    const { data } = await get(
      `v1/series?jobs=${jobs.join(",")}&names=loss,lr&points=${POINTS}`);
    if (seen?.told !== told) list(told);
    seen = { told, data, log: (sweep.spec.template.range?.ramp ?? "exponential") === "exponential" };
    draw();
  }

  function draw() {
    if (!seen) return;
    const { told: { chosen, settings }, data, log } = seen;
    const width = smooth.read(context.view);
    const part = pairOf(context.view.get("lr"));
    all.read(context.view);
    const views = new Map(data.map((rows) => [rows.job, rows.columns]));
    const colours = coloursOf(placesOf(settings.map(orderOf)));
    const raw = settings.flatMap(({ parameters, jobs }, place) =>
      jobs.filter((job) => views.get(job)?.lr.length).map((job) => ({
        label: said(parameters), name: `${said(parameters)}, ${job.slice(-4)}`,
        color: colours[place], strong: settings[place] === settings[0] && Boolean(chosen),
        x: views.get(job).lr, y: views.get(job).loss,
      })));
    const limits = part ?? extent(raw.flatMap((curve) => curve.x));
    if (!(limits[0] < limits[1])) return;
    const span = log ? Math.log10(limits[1] / limits[0]) : limits[1] - limits[0];
    const curves = raw.flatMap((curve) => (width ? [
      { ...curve, ghost: true, strong: false },
      { ...curve, label: `${curve.label}, smoothed`, derived: true, quiet: true,
        y: smoothed(curve.x, curve.y, width * span, log) },
    ] : [curve]));
    const losses = lossLimits(raw.map((curve) => curve.y), (length) => length / 10);
    const marks = chosen?.max_lr
      ? [{ x: chosen.max_lr, label: `suggested: ${short(chosen.max_lr)}`, kind: "snapshot" }] : [];
    const note = "the first repeat of each job" +
      (losses.cut === null ? "" : ` · losses up to ${short(losses.cut)} lie above the picture`);
    chart.update({ x: { label: "learning rate", log, limits }, y: { limits: losses.limits },
      curves, marks, note });
  }

  function list({ why: sentence, settings, chosen }) {
    setText(why, chosen ? `Train with ${said(chosen.parameters)}: ${sentence}.` : `${sentence}.`);
    const heads = ["Setting", "Status", "Lowest loss", "Stable to", "Suggested max_lr", "Seconds"];
    const head = el("tr", {}, ...heads.map((name) => el("th", { scope: "col" }, name)));
    const rows = settings.map((each) => {
      const { parameters, jobs, status, lowest, stable_lr: stable, max_lr: peak, seconds } = each;
      const page = jobs.length === 1 ? href("jobs", jobs[0])
        : href("compare", null, { jobs: jobs.join(","), x: "lr" });
      return el("tr", {}, el("th", { scope: "row" }, el("a", { href: page }, said(parameters))),
        ...[status.replaceAll("_", " "), short(lowest), (each.open_ended ? "≥ " : "") + short(stable),
          short(peak), short(seconds, 2)].map((cell) => el("td", {}, cell)));
    });
    table.replaceChildren(el("caption", { class: "hidden" }, "Settings"),
      el("thead", {}, head), el("tbody", {}, ...rows));
  }
}

/** What colours a setting: its number where it has one, else its words. */
function orderOf({ parameters }) {
  const values = Object.values(parameters);
  return values.length === 1 ? values[0] : JSON.stringify(parameters);
}
