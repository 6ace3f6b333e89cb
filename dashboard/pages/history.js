/** What happened to a job: every attempt at it, and every change of its state. */

import { el } from "../dom.js";
import { count, duration, secondsBetween } from "../numbers.js";

const ATTEMPTS = ["attempt", "worker", "began", "took", "from", "to", "outcome"];
const CHANGES = ["when", "who", "what", "state", "iteration", "detail"];

/** A list to fold out, which `show(job)` fills. */
export function createHistory() {
  const attempts = scroll("Attempts");
  const changes = scroll("Changes");
  const element = el("details", {}, el("summary", {}, "History"), attempts, changes);
  return { element, show };

  function show(job) {
    element.hidden = job.history.length === 0;
    attempts.hidden = job.attempts.length === 0;
    attempts.replaceChildren(table(ATTEMPTS, job.attempts.map(attemptOf)));
    changes.replaceChildren(table(CHANGES, job.history.map(changeOf)));
  }
}

function attemptOf({ attempt, worker, started_at, ended_at, outcome, reason, began, iterations }) {
  const took = ended_at === null ? "" : duration(secondsBetween(started_at, ended_at));
  const end = (outcome ?? "running").replace("_", " ");
  const to = iterations === null ? "" : count(iterations);
  const words = reason ? `${end} (${reason})` : end;
  return [attempt, worker, instant(started_at), took, count(began), to, words];
}

function changeOf({ at, actor, verb, state, iteration, detail }) {
  return [instant(at), actor, verb.replace("_", " "), state, count(iteration), detail ?? ""];
}

const instant = (time) => new Date(time).toLocaleString();

const scroll = (name) =>
  el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": name });

function table(titles, rows) {
  const head = el("tr", {}, ...titles.map((title) => el("th", { scope: "col" }, title)));
  const body = rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, cell))));
  return el("table", { class: "log" }, el("thead", {}, head), el("tbody", {}, ...body));
}
