/** The list of sweeps, newest first. */

import { href } from "../address.js";
import { get } from "../api.js";
import { el, setText } from "../dom.js";
import { count, duration, secondsBetween, short } from "../numbers.js";

export const STEP = "/tags/step"; // of a recipe

const LIMIT = 100;
const HEADS = ["State", "Name", "Sampler", "Jobs", "Best job", "Parameters", "Age"];
const NARROW = ["Sampler", "Parameters", "Age"];

/**
 * What is shown of a sweep is always there, whatever another version may have stored: `foreign`
 * says whether some of it is made up, `judgeable` whether its objective is not.
 */
export function legible(sweep) {
  const { spec } = sweep;
  const { objective: told, template, sampler, find } = spec;
  const judgeable = Boolean(told?.metric && told.direction);
  const foreign = !(judgeable && template && (sampler?.name || find?.name));
  const given = { ...sweep, foreign, judgeable, given: spec };
  if (!foreign) return given;
  const objective = { metric: "value", direction: "minimize", ...told };
  return { ...given, spec: { ...spec, objective, template: template ?? {} } };
}

export const sweepTitle = (sweep) => {
  const { name, spec } = sweep;
  if (!name && sweep.foreign) return sweep.id;
  const over = spec.kind === "recipe" ? "schedules" : spec.template.kind;
  return name || `${searchOf(sweep)} over ${over}`;
};

/** How its jobs are chosen. */
export const searchOf = ({ foreign, spec: { kind, find, sampler } }) => {
  if (foreign) return sampler?.name ?? kind ?? "of another version";
  if (kind === "recipe") return `recipe, rates by ${find.name.replaceAll("_", " ")}`;
  return sampler.name.replaceAll("_", " ");
};

export function createSweepsPage() {
  const rows = new Map();
  const body = el("tbody");
  const head = el("tr", {}, ...HEADS.map((name) =>
    el("th", { scope: "col", class: NARROW.includes(name) ? "wide" : "" }, name)));
  const caption = el("caption", { class: "hidden" }, "Sweeps");
  const table = el("table", { class: "list stack", hidden: "" }, caption, el("thead", {}, head), body);
  const none = el("p", { class: "empty", hidden: "" },
    "No sweeps yet. A sweep runs one job for each of many settings and says which is best: ",
    el("code", {}, "stepsize sweep --help"), " shows how to submit one.");
  const element = el("section", {}, el("h1", {}, "Sweeps"), table, none);
  return { element, title: "Sweeps", refresh };

  async function refresh() {
    const told = await get(`v1/sweeps?limit=${LIMIT}`);
    const data = told.data.map(legible);
    table.hidden = data.length === 0;
    none.hidden = data.length > 0;
    const ids = new Set(data.map((sweep) => sweep.id));
    for (const [id, row] of rows) if (!ids.has(id)) rows.delete(id), row.element.remove();
    data.forEach((sweep, place) => {
      if (!rows.has(sweep.id)) rows.set(sweep.id, createRow(sweep.id));
      const row = rows.get(sweep.id);
      row.show(sweep);
      if (body.children[place] !== row.element)
        body.insertBefore(row.element, body.children[place] ?? null);
    });
    return data.some(({ state }) => state === "running" || state === "queued");
  }
}

function createRow(id) {
  const state = el("span");
  const link = el("a", { href: href("sweeps", id) });
  const sampler = el("td", { class: "wide" });
  const bar = el("progress", { "aria-label": "progress" });
  const done = el("small");
  const best = el("td");
  const parameters = el("td", { class: "wide" });
  const age = el("td", { class: "wide" });
  const cells = [
    el("td", {}, state), el("th", { scope: "row" }, link), sampler, el("td", {}, bar, done), best,
    parameters, age,
  ];
  return { element: el("tr", {}, ...cells), show };

  function show(sweep) {
    setText(state, sweep.state);
    state.className = `state ${sweep.state}`;
    setText(link, sweepTitle(sweep));
    setText(sampler, searchOf(sweep));
    const ended = endedOf(sweep);
    Object.assign(bar, { max: sweep.promised || 1, value: ended });
    setText(done, `${count(ended)} of ${count(sweep.promised)}`);
    setText(best, sweep.best ? `${sweep.spec.objective.metric} ${short(sweep.best.value)}` : "");
    setText(parameters, sweep.best ? said(sweep.best.parameters) : "");
    setText(age, duration(Math.floor(secondsBetween(sweep.created_at, null))));
  }
}

export const endedOf = ({ counts }) =>
  ["succeeded", "failed", "cancelled"].reduce((sum, state) => sum + (counts[state] ?? 0), 0);

/** Parameters in words. */
export const said = (parameters) =>
  Object.entries(parameters)
    .filter(([path]) => path !== STEP)
    .map(([path, value]) => `${path.split("/").at(-1)} ${valueOf(value)}`)
    .join(", ");

export function valueOf(value) {
  if (typeof value === "number") return short(value);
  return typeof value === "string" ? value : JSON.stringify(value);
}
