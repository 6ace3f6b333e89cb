/** The page of one sweep: progress, the best so far, what to make of it, and all results. */

import { href } from "../address.js";
import { ApiError, get, post } from "../api.js";
import { STATES } from "../describe.js";
import { el, setText } from "../dom.js";
import { count, short } from "../numbers.js";
import { createEffects } from "./effects.js";
import { createPicked } from "./picked.js";
import { createRanking } from "./ranking.js";
import { createLines } from "./sweep_lines.js";
import { createResults } from "./sweep_results.js";
import { endedOf, said, searchOf, sweepTitle } from "./sweeps.js";

const BEST = 10; // jobs that are compared

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
  const ranking = createRanking();
  const picked = createPicked(context);
  const lines = createLines(context);
  const effects = createEffects(context);
  const results = createResults(context);
  const parts = [ranking, picked, lines, effects, results];
  const spec = el("pre", { tabindex: 0 });
  const element = el("article", {},
    el("div", { class: "head" }, heading, state, actions),
    facts, problem, bar, outcome, ...parts.map((part) => part.element),
    el("details", {}, el("summary", {}, "Specification"), spec));
  const page = { element, title: "", refresh, turned };
  return page;

  async function refresh() {
    let sweep;
    try {
      sweep = await get(`v1/sweeps/${id}`);
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
    return sweep.state === "running" || sweep.state === "queued";
  }

  function turned() {
    lines.draw();
    picked.draw();
  }

  function show(sweep) {
    const { counts, spec: given, best } = sweep;
    page.title = `${sweepTitle(sweep)}: ${sweep.state}`;
    setText(heading, sweepTitle(sweep));
    setText(state, sweep.state);
    state.className = `state ${sweep.state}`;
    const objective = `${given.objective.direction} ${given.objective.metric}`;
    const early = given.stopping ? [`stopped early by ${given.stopping.name}`] : [];
    setText(facts, [searchOf(sweep), objective, ...early, id].join(" · "));
    Object.assign(bar, { max: sweep.promised || 1, value: endedOf(sweep) });
    const states = STATES.filter((each) => counts[each]);
    const begun = states.map((each) => `${count(counts[each])} ${each}`).join(", ");
    const value = best && `${given.objective.metric} ${short(best.value)}`;
    const found = best ? ` Best so far: ${value} with ${said(best.parameters)}.` : "";
    const ending = sweep.ending ? ` No more are begun: ${sweep.ending}.` : "";
    const all = count(sweep.promised);
    setText(outcome, `${begun || "none begun"} of ${all}.${found}${ending}`);
    const over = ["succeeded", "failed", "cancelled"].includes(sweep.state);
    buttons.pause.hidden = over || sweep.state === "paused";
    buttons.resume.hidden = sweep.state !== "paused";
    buttons.cancel.hidden = over;
    buttons.retry.hidden = !counts.failed;
    setText(spec, JSON.stringify(given, null, 2));
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
