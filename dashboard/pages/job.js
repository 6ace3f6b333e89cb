/** The page of one job: what it is, how it goes, what came out, and what can be done about it. */

import { href } from "../address.js";
import { ApiError, follow, get } from "../api.js";
import { factsOf, finished, moving, outcomeOf, titleOf } from "../describe.js";
import { el, setText } from "../dom.js";
import { count } from "../numbers.js";
import { createActions } from "./actions.js";
import { createHistory } from "./history.js";
import { rangeTestCharts } from "./range_test.js";
import { rowsOf } from "./result.js";
import { trainingCharts } from "./training.js";

const DEAF = 10_000; // ms

/**
 * A page that `refresh` keeps up to date; it asks to be woken as its job changes. After `leave` it
 * does no more, until it is refreshed again.
 */
export function createJobPage(id, context) {
  const heading = el("h1");
  const state = el("span", { class: "state" });
  const facts = el("p", { class: "facts" });
  const problem = el("p", { class: "problem", role: "alert" });
  const outcome = el("p", { class: "outcome", role: "status" });
  const warnings = el("p", { class: "warning" });
  const bar = el("progress", { "aria-label": "progress", hidden: "" });
  const origin = el("p", { class: "facts", hidden: "" });
  const waits = el("p", { class: "facts", role: "status", hidden: "" });
  const actions = createActions(id, moved);
  const pictures = el("div");
  const result = el("dl", { class: "result" });
  const results = el("details", { hidden: "" }, el("summary", {}, "Result in full"), result);
  const use = el("pre", { class: "use", tabindex: 0 });
  const uses = el("section", { hidden: "" }, el("h2", {}, "In a training, one of"), use);
  const spec = el("pre", { tabindex: 0 });
  const history = createHistory();
  history.element.hidden = true;
  const element = el("article", {},
    el("div", { class: "head" }, heading, state, actions.element),
    facts, origin, waits, problem, actions.refusal, bar, outcome, warnings, pictures, uses, results,
    el("details", {}, el("summary", {}, "Specification"), spec),
    history.element);

  let shown = null; // the job as it is on the page, pictures included
  let charts = null;
  let attempt = null;
  let gone = false;
  let zoomed = false; // other rows are wanted than those that are there
  let live = null; // tells of every change
  let known = false; // it has told of nothing since the page was brought up to date
  let deaf = 0; // until then it is no use to listen
  const page = { element, title: "", refresh, turned, leave };
  return page;

  function leave() {
    live?.close();
    live = null;
  }

  function listen() {
    if (document.hidden || !element.isConnected || performance.now() < deaf) return;
    live = follow(id);
    live.addEventListener("state", () => {
      known = false;
      context.wake();
    });
    live.addEventListener("end", leave);
    live.addEventListener("error", () => {
      deaf = performance.now() + DEAF; // the page asks meanwhile
      leave();
    });
  }

  /** Shows what is there as the address now says; `refresh` fetches what is not. */
  function turned() {
    zoomed = true;
    for (const each of charts ?? []) each.draw();
  }

  async function refresh() {
    if (gone) return false;
    if (!(live && known) || shown?.state === "queued") { // why it waits changes without it
      known = true;
      if (!(await fetched())) return false;
    }
    return shown !== null && moving(shown);
  }

  async function fetched() {
    let job;
    try {
      job = await get(`v1/jobs/${id}`);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error;
      gone = true;
      page.title = "No such job";
      setText(heading, "No such job");
      setText(problem, `${error.message}: it was deleted, or the link is wrong`);
      actions.element.hidden = true;
      return false;
    }
    show(job);
    if (!live && !finished(job)) listen();
    if (job === shown && !zoomed) return true;
    zoomed = false;
    if (job.attempt !== attempt) charts = null; // it records anew what no checkpoint had
    attempt = job.attempt;
    if (job.progress.iteration > 0 || job.result) {
      charts ??= chartsOf(job, context);
      const drawn = charts.map((each) => each.element);
      if (drawn.some((each, index) => each !== pictures.children[index]))
        pictures.replaceChildren(...drawn);
      for (const each of charts) await each.refresh(job);
    } else pictures.replaceChildren();
    shown = job;
    return true;
  }

  function show(job) {
    const { iteration, iterations } = job.progress;
    page.title = `${titleOf(job)}: ${job.state}`;
    setText(heading, titleOf(job));
    setText(state, job.state);
    state.className = `state ${job.state}`;
    setText(facts, factsOf(job));
    const { reason, detail } = job.error ?? {};
    setText(problem, job.state === "failed" ? `Failed (${reason}): ${detail}` : "");
    setText(outcome, outcomeOf(job));
    waits.hidden = !job.waiting;
    setText(waits, job.waiting ? `Waits: ${job.waiting.detail}.` : "");
    setText(warnings, job.warnings.map((each) => `Note: ${each}.`).join(" "));
    bar.hidden = !["running", "paused"].includes(job.state) || !iterations;
    if (iterations) Object.assign(bar, { max: iterations, value: iteration });
    if (job === shown) return;
    actions.show(job);
    history.show(job);
    origin.hidden = !job.parent && !job.sweep;
    origin.replaceChildren(...originOf(job));
    results.hidden = !job.result;
    result.replaceChildren(...rowsOf(job.result ?? {}));
    setText(spec, JSON.stringify(job.spec, null, 2));
    const bound = JSON.stringify({ range_test: id });
    uses.hidden = !job.result?.suggestion;
    const once = `"schedule": {"policy": "one_cycle", "max_lr": ${bound}}`;
    const cycles = `"base_lr": ${bound}, "max_lr": ${bound}, "step_size": {"epochs": 2}`;
    setText(use, `${once}\n"schedule": {"policy": "triangular", ${cycles}}`);
  }

  function moved(verb) {
    known = false;
    shown = verb === "retry" ? null : shown;
    if (verb === "delete") location.hash = href("jobs");
    context.wake();
  }
}

function chartsOf(job, context) {
  if (job.kind === "range_test") return [rangeTestCharts(context)];
  const first = job.spec.schedule.policy === "auto" ? [rangeTestCharts(context)] : [];
  return [...first, trainingCharts(context)];
}

function originOf({ parent, sweep }) {
  const words = [];
  if (sweep) words.push("A trial of ", el("a", { href: href("sweeps", sweep) }, sweep), ". ");
  if (!parent) return words;
  const link = el("a", { href: href("jobs", parent.job) }, parent.job);
  return [...words, "Goes on from ", link, ` at iteration ${count(parent.iteration)}.`];
}
