/** The list of jobs, newest first. */

import { ApiError, get } from "./api.js";
import { el, setText } from "./dom.js";
import { kindOf, titleOf } from "./job.js";
import { count, duration, percent, secondsBetween, short } from "./numbers.js";

const PAGE = 50;
const MOST = 500;

/** A list that `refresh` keeps up to date; `more` asks for older jobs. */
export function createList(container, more) {
  const rows = new Map();
  const losses = new Map();
  let limit = PAGE;
  more.addEventListener("click", () => (limit = Math.min(limit + PAGE, MOST)));
  return { refresh, select };

  async function refresh() {
    const { data, next_cursor: next } = await get(`v1/jobs?limit=${limit}`);
    await Promise.all(data.filter((job) => job.state === "running").map(note));
    const known = new Set(data.map((job) => job.id));
    for (const [id, row] of rows) if (!known.has(id)) rows.delete(id), row.element.remove();
    data.forEach((job, place) => {
      if (!rows.has(job.id)) rows.set(job.id, createRow(job.id));
      const row = rows.get(job.id);
      row.show(job, losses.get(job.id));
      if (container.children[place] !== row.element)
        container.insertBefore(row.element, container.children[place] ?? null);
    });
    more.hidden = next === null || limit === MOST;
    return { empty: data.length === 0, active: data.some(moving) };
  }

  /** Notes the last loss of a running job. */
  async function note(job) {
    const { iteration } = job.progress;
    if (!iteration || losses.get(job.id)?.iteration === iteration) return;
    try {
      losses.set(job.id, { iteration, loss: await lastLoss(job) });
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error; // deleted meanwhile
    }
  }

  function select(id) {
    for (const link of container.querySelectorAll("a")) {
      if (link.hash === `#${id}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }
}

const moving = ({ state }) => state === "queued" || state === "running";

async function lastLoss(job) {
  if (job.kind === "training") {
    const path = `v1/jobs/${job.id}/series?names=loss&start=${job.progress.iteration - 1}`;
    return (await get(path)).columns.loss.at(-1);
  }
  // its iterations count through all repeats, and a repeat may stop early
  const { data } = await get(`v1/jobs/${job.id}/series/summary`);
  return data.findLast((each) => each.name === "loss")?.last;
}

function createRow(id) {
  const name = el("b");
  const state = el("span");
  const parts = el("span", { class: "parts" });
  const figure = el("span", { class: "figure" });
  const age = el("time");
  const bar = el("progress", { "aria-label": "progress" });
  const link = el("a", { href: `#${id}` }, name, state, parts, figure, age, bar);
  if (location.hash === `#${id}`) link.setAttribute("aria-current", "page");
  return { element: el("li", {}, link), show };

  function show(job, last) {
    const { model, data, optimizer } = job.spec;
    setText(name, titleOf(job));
    setText(state, job.state);
    state.className = `state ${job.state}`;
    setText(parts, [kindOf(job), model.name, data.name, optimizer.name].join(" · "));
    setText(figure, figureOf(job, last?.loss));
    setText(age, duration(Math.floor(secondsBetween(job.created_at, null))));
    age.dateTime = job.created_at;
    age.title = `submitted ${new Date(job.created_at).toLocaleString()}`;
    bar.hidden = !["running", "paused"].includes(job.state) || !job.progress.iterations;
    const { iteration, iterations } = job.progress;
    if (iterations) Object.assign(bar, { max: iterations, value: iteration });
  }
}

function figureOf({ state, kind, result, error }, loss) {
  if (state === "running") return loss === undefined ? "" : `loss ${short(loss)}`;
  if (state === "failed") return error.reason;
  if (!result) return "";
  if (kind === "range_test") {
    const best = result.suggestion;
    return best ? `lr ${short(best.base_lr, 2)} to ${short(best.max_lr, 2)}` : "no suggestion";
  }
  if (result.diverged_at !== null) return `diverged at ${count(result.diverged_at)}`;
  const accuracy = result.val_accuracy === null ? "" : ` · ${percent(result.val_accuracy)}`;
  return `loss ${short(result.train_loss)}${accuracy}`;
}
