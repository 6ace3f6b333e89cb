/** The page of one job: what it is, how it goes, what came out, and what can be done about it. */

import { ApiError, follow, get, post } from "./api.js";
import { rangeTestCharts, trainingCharts } from "./curves.js";
import { el, setText } from "./dom.js";
import { createHistory } from "./history.js";
import { count, duration, percent, secondsBetween, short } from "./numbers.js";

const DEAF = 10_000; // ms

export const finished = (job) => ["succeeded", "failed", "cancelled"].includes(job.state);
export const titleOf = (job) => job.name || `${job.spec.model.name} on ${job.spec.data.name}`;
export const kindOf = (job) => job.kind.replace("_", " ");

/**
 * A page that `refresh` keeps up to date; `wake` asks for that at once, as the job's changes do.
 * After `leave` they do no more, until the page is refreshed again.
 */
export function createPage(id, wake) {
  const heading = el("h1");
  const state = el("span", { class: "state" });
  const facts = el("p", { class: "facts" });
  const problem = el("p", { class: "problem", role: "alert" });
  const refusal = el("p", { class: "problem", role: "alert" });
  const outcome = el("p", { class: "outcome", role: "status" });
  const warnings = el("p", { class: "warning" });
  const bar = el("progress", { "aria-label": "progress" });
  const origin = el("p", { class: "facts" });
  const button = (verb, name) => el("button", { type: "button", onclick: () => act(verb) }, name);
  const pause = button("pause", "Pause");
  const resume = button("resume", "Resume");
  const cancel = button("cancel", "Cancel");
  const retry = button("retry", "Retry");
  const pictures = el("div");
  const result = el("dl", { class: "result" });
  const results = el("section", {}, el("h2", {}, "Result"), result);
  const use = el("pre", { class: "use", tabindex: 0 });
  const uses = el("section", {}, el("h2", {}, "In a training, one of"), use);
  const spec = el("pre", { tabindex: 0 });
  const history = createHistory();
  const element = el("article", {},
    el("a", { class: "back", href: "#" }, "← all jobs"),
    el("div", { class: "head" }, heading, state, pause, resume, cancel, retry),
    facts, origin, problem, refusal, bar, outcome, warnings, pictures, results, uses,
    el("details", {}, el("summary", {}, "Specification"), spec),
    history.element);
  for (const part of [pause, resume, cancel, retry, origin, bar, results, uses, history.element])
    part.hidden = true;

  let shown = null; // the job as it is on the page, pictures included
  let charts = null;
  let attempt = null;
  let gone = false;
  let live = null; // tells of every change
  let known = false; // it has told of nothing since the page was brought up to date
  let deaf = 0; // until then it is no use to listen
  return { id, element, refresh, leave };

  function leave() {
    live?.close();
    live = null;
  }

  function listen() {
    if (document.hidden || !element.isConnected || performance.now() < deaf) return;
    live = follow(id);
    live?.addEventListener("state", () => {
      known = false;
      wake();
    });
    live?.addEventListener("end", leave);
    live?.addEventListener("error", () => {
      deaf = performance.now() + DEAF; // the page asks meanwhile
      leave();
    });
  }

  async function refresh() {
    if (gone) return;
    if (live && known) return show(shown);
    known = true;
    let job;
    try {
      job = await get(`v1/jobs/${id}`);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error;
      gone = true;
      setText(heading, "No such job");
      return setText(problem, `${error.message}: it was deleted, or the link is wrong`);
    }
    show(job);
    if (!live && !finished(job)) listen();
    if (job === shown) return;
    if (job.attempt !== attempt) charts = null; // it records anew what no checkpoint had
    attempt = job.attempt;
    if (job.progress.iteration > 0 || job.result) {
      charts ??= chartsOf(job);
      for (const each of charts) await each.refresh(job);
    }
    const drawn = (charts ?? []).map((each) => each.element);
    const there = [...pictures.children];
    if (there.length !== drawn.length || drawn.some((each, index) => each !== there[index])) {
      pictures.replaceChildren(...drawn);
    }
    shown = job;
  }

  function show(job) {
    const { iteration, iterations } = job.progress;
    setText(heading, titleOf(job));
    document.title = `${titleOf(job)}: ${job.state} · stepsize`;
    setText(state, job.state);
    state.className = `state ${job.state}`;
    setText(facts, factsOf(job));
    const { reason, detail } = job.error ?? {};
    setText(problem, job.state === "failed" ? `Failed (${reason}): ${detail}` : "");
    setText(outcome, outcomeOf(job));
    setText(warnings, job.warnings.map((each) => `Note: ${each}.`).join(" "));
    bar.hidden = !["running", "paused"].includes(job.state) || !iterations;
    if (iterations) Object.assign(bar, { max: iterations, value: iteration });
    const held = job.state === "paused" || job.pause_requested;
    pause.hidden = finished(job) || held || job.cancel_requested;
    resume.hidden = !held || job.cancel_requested;
    cancel.hidden = finished(job);
    cancel.disabled = job.cancel_requested;
    retry.hidden = !["failed", "cancelled"].includes(job.state);
    if (job === shown) return;
    history.show(job);
    origin.hidden = !job.parent;
    if (job.parent) origin.replaceChildren(...originOf(job.parent));
    results.hidden = !job.result;
    result.replaceChildren(...rowsOf(job.result ?? {}));
    setText(spec, JSON.stringify(job.spec, null, 2));
    const bound = JSON.stringify({ range_test: id });
    uses.hidden = !job.result?.suggestion;
    const once = `"schedule": {"policy": "one_cycle", "max_lr": ${bound}}`;
    const cycles = `"base_lr": ${bound}, "max_lr": ${bound}, "step_size": {"epochs": 2}`;
    setText(use, `${once}\n"schedule": {"policy": "triangular", ${cycles}}`);
  }

  async function act(verb) {
    const losing = verb === "cancel" && shown?.state === "running";
    if (losing && !confirm("Cancel this job? To go on with it later, pause it instead.")) return;
    setText(refusal, "");
    try {
      await post(`v1/jobs/${id}/${verb}`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setText(refusal, `Could not ${verb}: ${error.message}`);
    }
    known = false;
    wake();
  }
}

function chartsOf(job) {
  if (job.kind === "range_test") return [rangeTestCharts()];
  const first = job.spec.schedule.policy === "auto" ? [rangeTestCharts()] : [];
  return [...first, trainingCharts()];
}

function originOf({ job, iteration }) {
  return ["Goes on from ", el("a", { href: `#${job}` }, job), ` at iteration ${count(iteration)}.`];
}

function factsOf(job) {
  const { optimizer, batch_size: batch, model, data, precision } = job.spec;
  const { device, threads, population } = job.resolved ?? {};
  const parts = [kindOf(job), model.name, data.name, optimizer.name, `batch ${batch}`];
  if (precision !== "fp32") parts.push(precision);
  if (device) parts.push(threads ? `${device}, ${threads} thread${threads > 1 ? "s" : ""}` : device);
  if (population > 1) parts.push(`${population} runs at once`);
  if (job.attempt > 1) parts.push(`attempt ${job.attempt}`);
  parts.push(`submitted ${new Date(job.created_at).toLocaleString()}`);
  if (job.started_at) {
    const seconds = secondsBetween(job.started_at, job.finished_at);
    const took = duration(job.finished_at ? seconds : Math.floor(seconds));
    parts.push(job.finished_at ? `took ${took}` : `running for ${took}`);
  }
  return [...parts, job.id].join(" · ");
}

function outcomeOf(job) {
  const { result, state } = job;
  const { iteration, iterations } = job.progress;
  const done = `${count(iteration)}${iterations ? ` of ${count(iterations)}` : ""} iterations`;
  if (state === "queued") return "Waiting for a worker.";
  if (state === "running" && job.cancel_requested) return `Stopping, after ${done}.`;
  if (state === "running") return job.pause_requested ? `Pausing, after ${done}.` : `${done}.`;
  if (state === "paused") return `Paused, after ${done}.`;
  if (!result) return `Ended after ${done}.`;
  if (job.kind === "range_test") return rangeTestOutcome(result);
  const parts = [];
  const { val_accuracy: accuracy, train_loss: loss, diverged_at: diverged } = result;
  if (accuracy !== null) parts.push(`validation accuracy ${percent(accuracy)}`);
  if (loss !== null) parts.push(`training loss ${short(loss)}`);
  const end = parts.length ? `At the end: ${parts.join(", ")}.` : "No finite loss at the end.";
  if (diverged !== null) return `Diverged at iteration ${count(diverged)}. ${end}`;
  const { ensemble } = result;
  if (!ensemble) return end;
  const { members, val_accuracy: together } = ensemble;
  return `${end} The average of the last ${members} snapshots: ${percent(together)}.`;
}

function rangeTestOutcome({ status, advice, suggestion, agreement }) {
  if (!suggestion) return `No suggestion: ${status.replaceAll("_", " ")}. ${advice ?? ""}`;
  const { base_lr: base, max_lr: max, fixed_lr: fixed } = suggestion;
  const cycle = `cycle the learning rate between ${short(base)} and ${short(max)}`;
  const single = fixed ? `, or keep it at ${short(fixed)}` : "";
  const sure = agreement ? ` Agreement with the other checks: ${agreement}.` : "";
  return `Suggestion: ${cycle}${single}.${sure}`;
}

const isObject = (value) => value !== null && typeof value === "object";

/** Every number of a result under the path to it, as the API names it. */
function rowsOf(value, path = "") {
  const under = (key) => (path ? `${path}.${key}` : key);
  const nested = Array.isArray(value) ? value.some(isObject) : isObject(value);
  if (nested)
    return Object.entries(value)
      .filter(([key]) => key !== "schedules") // the suggestion once more, to paste
      .flatMap(([key, each]) => rowsOf(each, under(key)));
  const values = Array.isArray(value) ? value : [value];
  const said = (each) => (typeof each === "number" || each === null ? short(each) : String(each));
  const words = values.map(said).join(" … ");
  return [el("div", {}, el("dt", {}, path), el("dd", { title: JSON.stringify(value) }, words))];
}
