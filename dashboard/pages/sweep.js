/** The page of one sweep: progress, the best so far, what to make of it, and all results. */

import { href } from "../address.js";
import { ApiError, get, post } from "../api.js";
import { FOREIGN, STATES } from "../describe.js";
import { el, setText } from "../dom.js";
import { count, short } from "../numbers.js";
import { createEffects } from "./effects.js";
import { createPicked } from "./picked.js";
import { createRanking } from "./ranking.js";
import { createLines } from "./sweep_lines.js";
import { createResults } from "./sweep_results.js";
import { endedOf, legible, said, searchOf, sweepTitle } from "./sweeps.js";

const BEST = 10; // jobs that are compared
const WAIT = 10; // seconds for a change

export function createSweepPage(id, context) {
  const heading = el("h1");
  const state = el("span", { class: "state" });
  const buttons = Object.fromEntries(["pause", "resume", "retry", "cancel"].map((verb) => {
    const name = verb[0].toUpperCase() + verb.slice(1);
    return [verb, el("button", { type: "button", onclick: () => act(verb) }, name)];
  }));
  const compare = el("a", { class: "button" }, "Compare the best");
  const like = href("new", null, { like: id });
  const again = el("a", { class: "button", href: like }, "Edit and run again");
  const csv = el("button", { type: "button", onclick: download }, "CSV");
  const actions = el("div", { class: "actions" }, ...Object.values(buttons), again, compare, csv);
  const facts = el("p", { class: "facts" });
  const problem = el("p", { class: "problem", role: "alert" });
  const bar = el("progress", { "aria-label": "progress" });
  const outcome = el("p", { class: "outcome", role: "status" });
  const warning = el("p", { class: "warning" });
  const ranking = createRanking();
  const picked = createPicked(context);
  const effects = createEffects(context);
  const results = createResults(context);
  const lines = createLines(context, results.narrow);
  const parts = [ranking, picked, lines, effects, results];
  const spec = el("pre", { tabindex: 0 });
  const element = el("article", {},
    el("div", { class: "head" }, heading, state, actions),
    facts, problem, bar, outcome, warning, ...parts.map((part) => part.element),
    el("details", {}, el("summary", {}, "Specification"), spec));
  let waiting = null; // for the sweep to change; whatever else is shown changes with it
  let due = true; // for all to be asked for
  let goes = false;
  const page = { element, title: "", refresh, turned, leave };
  return page;

  async function refresh() {
    if (waiting && !due) return goes;
    due = false;
    try {
      goes = await fetched();
    } catch (error) {
      due = true;
      throw error;
    }
    return goes;
  }

  async function fetched() {
    let sweep;
    try {
      sweep = legible(await get(`v1/sweeps/${id}`));
    } catch (error) {
      if (!(error instanceof ApiError) || ![404, 422].includes(error.status)) throw error;
      page.title = "No such sweep";
      setText(heading, "No such sweep");
      setText(problem, `${error.message}: it was deleted, or the link is wrong`);
      for (const part of [actions, bar, ...parts.map((each) => each.element)]) part.hidden = true;
      return false;
    }
    show(sweep);
    const rows = await results.refresh(sweep);
    offer(sweep, rows);
    lines.show(sweep, rows);
    for (const part of [ranking, picked, effects]) await part.refresh(sweep);
    if (!waiting && !document.hidden && element.isConnected) listen();
    return sweep.state === "running" || sweep.state === "queued";
  }

  /** Has the service answer when there is something new, rather than asking it every second. */
  async function listen() {
    const mine = (waiting = new AbortController());
    try {
      await get(`v1/sweeps/${id}`, { wait: WAIT, signal: mine.signal });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error; // the page asks itself, and says what is wrong
    }
    if (waiting === mine) waiting = null;
  }

  function leave() {
    waiting?.abort();
    waiting = null;
    due = true;
  }

  function turned() {
    due = true;
    lines.draw();
    picked.draw();
  }

  function show(sweep) {
    const { counts, spec: given, best, foreign } = sweep;
    page.title = `${sweepTitle(sweep)}: ${sweep.state}`;
    setText(heading, sweepTitle(sweep));
    setText(state, sweep.state);
    state.className = `state ${sweep.state}`;
    const { metric, direction } = given.objective;
    const unread = foreign || (given.template.kind === "range_test" && metric === "val_loss");
    const objective = unread ? [] : [`${direction} ${metric}`]; // range tests have no such loss
    const early = given.stopping ? [`stopped early by ${given.stopping.name}`] : [];
    setText(facts, [searchOf(sweep), ...objective, ...early, id].join(" · "));
    Object.assign(bar, { max: sweep.promised || 1, value: endedOf(sweep) });
    const states = STATES.filter((each) => counts[each]);
    const begun = states.map((each) => `${count(counts[each])} ${each}`).join(", ");
    const value = best && `${metric} ${short(best.value)}`;
    const over = ["succeeded", "failed", "cancelled"].includes(sweep.state);
    const which = over ? "Best job" : "Best job so far";
    const found = best ? ` ${which}: ${value} with ${said(best.parameters)}.` : "";
    const ending = sweep.ending ? ` No more are begun: ${sweep.ending}.` : "";
    const all = count(sweep.promised);
    setText(outcome, `${begun || "none begun"} of ${all}.${found}${ending}`);
    setText(warning, foreign ? FOREIGN : "");
    buttons.pause.hidden = over || sweep.state === "paused";
    buttons.resume.hidden = sweep.state !== "paused";
    buttons.cancel.hidden = over;
    buttons.retry.hidden = !counts.failed;
    setText(spec, JSON.stringify(sweep.given, null, 2));
  }

  function offer({ spec: { objective } }, rows) {
    const sign = objective.direction === "maximize" ? -1 : 1;
    const counts = (row) => row.job && row.value !== null && !row.short && !row.stopped;
    const order = (a, b) => sign * (a.value - b.value) || a.number - b.number;
    const best = rows.filter(counts).toSorted(order).slice(0, BEST);
    compare.hidden = best.length < 2;
    compare.href = href("compare", null, { jobs: best.map((row) => row.job).join(",") });
  }

  async function act(verb) {
    if (verb === "cancel" && !confirm("Cancel every job of this sweep that has not ended?")) return;
    setText(problem, "");
    try {
      await post(`v1/sweeps/${id}/${verb}`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setText(problem, `Could not ${verb}: ${error.message}`);
    }
    due = true;
    context.wake();
  }

  /** A link cannot ask for a format, so the table is fetched and handed over. */
  async function download() {
    const answer = await fetch(`v1/sweeps/${id}/results`, { headers: { Accept: "text/csv" } });
    if (!answer.ok) return void setText(problem, `No table: the service answers ${answer.status}`);
    const address = URL.createObjectURL(await answer.blob());
    el("a", { href: address, download: `${id}.csv` }).click();
    URL.revokeObjectURL(address);
  }
}
