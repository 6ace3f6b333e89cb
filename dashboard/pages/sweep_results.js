/** All results of a sweep, a page at a time; who was stopped early, and why. */

import { href } from "../address.js";
import { get } from "../api.js";
import { el, setText } from "../dom.js";
import { count, short } from "../numbers.js";
import { STEP, valueOf } from "./sweeps.js";

const LIMIT = 500; // rows of a page

export function createResults(context) {
  const table = el("table", { class: "list" });
  const scroll = el("div", { class: "scroll tall", tabindex: 0, role: "region" }, table);
  scroll.setAttribute("aria-label", "Results");
  const turn = (after) => context.turn({ after }, { push: true });
  const button = (words) => el("button", { type: "button", hidden: "" }, words);
  const [first, next] = [button("First page"), button("Next page")];
  const note = el("p", { class: "note" });
  const element = el("section", {}, el("h2", {}, "Results"), scroll, note,
    el("div", { class: "controls" }, first, next));
  let shown = null; // what the service has told
  let chosen = null; // the numbers of those, null: all
  let more = null;
  first.addEventListener("click", () => turn(null));
  next.addEventListener("click", () => turn(more));
  return { element, refresh, narrow };

  /** The rows of the page that the address names. */
  async function refresh(sweep) {
    const after = context.view.get("after");
    const cursor = /^\d{1,6}$/.test(after ?? "") ? `&cursor=${after}` : "";
    const told = await get(`v1/sweeps/${sweep.id}/results?limit=${LIMIT}${cursor}`);
    if (told === shown?.told) return told.data;
    shown = { sweep, told, paged: cursor || told.next_cursor !== null };
    more = told.next_cursor;
    first.hidden = !cursor;
    next.hidden = more === null;
    element.lastChild.hidden = first.hidden && next.hidden;
    draw();
    return told.data;
  }

  /** Shows the rows of these numbers only; null: all of them. */
  function narrow(numbers) {
    const same = [...(numbers ?? [])].join() === [...(chosen ?? [])].join();
    if (same && (numbers === null) === (chosen === null)) return;
    chosen = numbers;
    if (shown) draw();
  }

  function draw() {
    const { sweep, told: { data }, paged } = shown;
    const rows = chosen ? data.filter((row) => chosen.has(row.number)) : data;
    list(sweep, rows);
    const stopped = rows.filter((row) => row.stopped).length;
    const words = [];
    if (paged) words.push(`Configurations ${data[0]?.number} to ${data.at(-1)?.number}.`);
    if (chosen) words.push(`${count(rows.length)} of ${count(data.length)}, as chosen above.`);
    if (stopped)
      words.push(`${count(stopped)} stopped early: the value of each is of the point it came to.`);
    setText(note, words.join(" "));
  }

  function list({ spec: { objective } }, data) {
    const sign = objective.direction === "maximize" ? -1 : 1;
    const group = (row) => (row.value === null ? 3 : row.short ? 2 : row.stopped ? 1 : 0);
    const order = (a, b) =>
      group(a) - group(b) || sign * (a.value - b.value) || a.number - b.number;
    const paths = [...new Set(data.flatMap((row) => Object.keys(row.parameters)))];
    const found = data.some((row) => STEP in row.parameters);
    const early = data.some((row) => row.stopped);
    const judged = data.some((row) => row.value !== null);
    const heads = ["Job", "State", ...(judged ? [objective.metric] : []), ...(early ? ["Stopped early"] : []),
      ...paths.map((path) => (path === STEP ? "Step" : path))];
    const head = el("tr", {}, ...heads.map((name) => el("th", { scope: "col" }, name)));
    const sorted = data.toSorted(found ? byStep(order) : order);
    const rows = sorted.map((row) => el("tr", {},
      el("th", { scope: "row" }, nameOf(row)),
      el("td", {}, el("span", { class: `state ${row.state ?? ""}` }, row.state ?? "deleted")),
      ...(judged ? [el("td", {}, valueOfRow(row))] : []),
      ...(early ? [el("td", { class: "verdict" }, row.stopped ?? "")] : []),
      ...paths.map((path) => el("td", {}, settingOf(row, path)))));
    const caption = el("caption", { class: "hidden" }, "Results");
    table.replaceChildren(caption, el("thead", {}, head), el("tbody", {}, ...rows));
  }
}

/** Steps of a recipe in the order in which they were begun. */
const byStep = (order) => {
  const steps = ["range_test", "coarse", "fine", "compare"];
  const place = (row) => steps.indexOf(row.parameters[STEP]);
  return (a, b) => place(a) - place(b) || order(a, b);
};

const nameOf = ({ job, number }) =>
  (job ? el("a", { href: href("jobs", job) }, `#${number}`) : `#${number}`);

const valueOfRow = ({ value, short: finds }) =>
  (value === null ? "" : short(value) + (finds ? " (finds the rates)" : ""));

const settingOf = ({ parameters }, path) =>
  (path in parameters ? valueOf(parameters[path]) : "");
