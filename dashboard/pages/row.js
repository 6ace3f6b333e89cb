/** One row of the table of jobs. */

import { href } from "../address.js";
import { spark } from "../charts/curves.js";
import { lossLimits } from "../charts/scales.js";
import { figureOf, kindOf, modelOf, scheduleOf, titleOf } from "../describe.js";
import { el, setText } from "../dom.js";
import { count, duration, percent, secondsBetween } from "../numbers.js";

export function createRow(id, picked) {
  const pick = el("input", { type: "checkbox", value: id });
  pick.checked = picked;
  const state = el("span");
  const link = el("a", { href: href("jobs", id) });
  const tags = el("small");
  const [kind, model, schedule, worker] = ["wide", "wide model", "wide", "wide"].map((name) =>
    el("td", { class: name }));
  const bar = el("progress", { "aria-label": "progress" });
  const done = el("small");
  const picture = el("canvas", { class: "spark", "aria-hidden": "true" });
  const figure = el("span", { class: "figure" });
  const age = el("time");
  const cells = [
    el("td", {}, pick), el("td", {}, state), el("th", { scope: "row" }, link, tags), kind, model,
    schedule, el("td", {}, bar, done), el("td", {}, picture, figure),
    el("td", { class: "wide" }, age), worker,
  ];
  let drawn = null;
  const choose = (wanted) => (pick.checked = wanted);
  return { element: el("tr", {}, ...cells), show, choose };

  function show(job, loss) {
    const { iteration, iterations } = job.progress;
    pick.setAttribute("aria-label", `Choose ${titleOf(job)}`);
    setText(state, job.state);
    state.className = `state ${job.state}`;
    setText(link, titleOf(job));
    setText(tags, Object.entries(job.spec.tags ?? {}).map((pair) => pair.join(":")).join("  "));
    setText(kind, kindOf(job));
    setText(model, modelOf(job));
    setText(schedule, scheduleOf(job));
    bar.hidden = !["running", "paused"].includes(job.state) || !iterations;
    if (iterations) Object.assign(bar, { max: iterations, value: iteration });
    setText(done, bar.hidden ? (iteration ? count(iteration) : "") : percentOf(job));
    setText(figure, figureOf(job, job.kind === "training" ? loss?.at(-1) : null));
    setText(age, duration(Math.floor(secondsBetween(job.created_at, null))));
    age.dateTime = job.created_at;
    age.title = `submitted ${new Date(job.created_at).toLocaleString()}`;
    setText(worker, job.worker ?? "");
    if (loss === drawn) return;
    drawn = loss;
    const { limits } = lossLimits([loss ?? []], (length) => Math.min(5, length));
    spark(picture, loss ?? [], limits, getComputedStyle(picture).color);
  }
}

const percentOf = ({ progress: { iteration, iterations } }) =>
  `${percent(Math.floor((1000 * iteration) / iterations) / 1000)} of ${count(iterations)}`;
