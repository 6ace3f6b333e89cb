/** The table of jobs, newest first, with filters, and a choice of some to compare. */

import { href, queryOf } from "../address.js";
import { get } from "../api.js";
import { moving, STATES } from "../describe.js";
import { el, setText } from "../dom.js";
import { createRow } from "./row.js";
import { losses } from "./sparklines.js";
import { createWelcome } from "./welcome.js";

const PAGE = 50;
const MOST = 500;
const PATIENCE = 200; // ms after a key until it is searched
const NONE = { state: null, kind: null, q: null, tag: null };
const HEADS = [
  "Pick", "State", "Name", "Kind", "Model", "Schedule", "Progress", "Loss", "Age", "Worker",
];
const NARROW = ["Kind", "Model", "Schedule", "Age", "Worker"]; // not on a phone

export function createJobsPage(context) {
  const { turn, session } = context;
  const chosen = new Set();
  const rows = new Map();
  const body = el("tbody");
  const kindOfHead = (name) => (NARROW.includes(name) ? `wide ${name.toLowerCase()}` : "");
  const heads = HEADS.map((name) => el("th", { scope: "col", class: kindOfHead(name) }, name));
  const head = el("tr", {}, ...heads);
  const table = el("table", { class: "list cards" }, el("caption", { class: "hidden" }, "Jobs"),
    el("thead", {}, head), body);
  const state = choice("State", "any state", STATES);
  const kind = choice("Kind", "any kind", ["range_test", "training"]);
  const query = el("input", { type: "search", placeholder: "Name  ( / )" });
  query.setAttribute("aria-label", "Search names");
  const tag = el("input", { placeholder: "tag:value", "aria-label": "Tag, as name:value" });
  const clear = el("button", { type: "button", onclick: () => turn(NONE) }, "Clear filters");
  const compare = el("a", { class: "button", href: href("compare") }, "Compare");
  const filters = el("form", { class: "filters", role: "search" }, 
    state, kind, query, tag, clear, compare);
  const more = el("button", { type: "button" }, "Older jobs");
  const empty = el("p", { class: "empty" }, "No job matches these filters.");
  const welcome = el("div");
  const element = el("section", {}, el("h1", {}, "Jobs"), filters, table, empty, welcome, more);
  let current = context.view;
  let timer = null;

  for (const part of [table, empty, more, clear]) part.hidden = true;
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, PATIENCE);
  });
  more.addEventListener("click", () => turn({ limit: Math.min(limit() + PAGE, MOST) }));
  table.addEventListener("change", choose);
  return { element, title: "Jobs", refresh, turned, leave: () => clearTimeout(timer) };

  function limit() {
    return Number(current.get("limit")) || PAGE;
  }

  function search() {
    turn({ state: state.value, kind: kind.value, q: query.value.trim(), tag: tag.value.trim() });
  }

  /** The address has changed: so must the fields. */
  function turned() {
    current = context.view;
    const fields = { state, kind, q: query, tag };
    for (const [name, field] of Object.entries(fields)) {
      const value = current.get(name) ?? "";
      if (field.value.trim() !== value) field.value = value;
    }
    clear.hidden = !filtered();
  }

  async function refresh() {
    const asked = current;
    const { limit: most = PAGE, ...wanted } = Object.fromEntries(asked);
    if (wanted.tag && !wanted.tag.includes(":")) delete wanted.tag; // while it is typed
    const { data, next_cursor: next } = await get(`v1/jobs?${queryOf({ limit: most, ...wanted })}`);
    const known = await losses(data);
    if (asked !== current) return true;
    const nothing = data.length === 0;
    table.hidden = nothing; // before anything is drawn in it
    const ids = new Set(data.map((job) => job.id));
    for (const [id, row] of rows) if (!ids.has(id)) rows.delete(id), row.element.remove();
    data.forEach((job, place) => {
      if (!rows.has(job.id)) rows.set(job.id, createRow(job.id));
      const row = rows.get(job.id);
      if (body.children[place] !== row.element)
        body.insertBefore(row.element, body.children[place] ?? null);
      row.show(job, known.get(job.id));
    });
    empty.hidden = !(nothing && filtered());
    teach(nothing && !filtered());
    more.hidden = next === null || most >= MOST;
    return data.some(moving);
  }

  function teach(needed) {
    filters.hidden = needed;
    if (needed) welcome.replaceChildren(createWelcome(session.signedIn));
    else welcome.replaceChildren();
  }

  function filtered() {
    return Object.keys(NONE).some((name) => current.get(name));
  }

  function choose({ target }) {
    if (target.checked) chosen.add(target.value);
    else chosen.delete(target.value);
    compare.href = href("compare", null, { jobs: [...chosen].join(",") });
    setText(compare, chosen.size ? `Compare ${chosen.size}` : "Compare");
  }
}

function choice(name, any, values) {
  const options = values.map((value) => el("option", { value }, value.replace("_", " ")));
  return el("select", { "aria-label": name }, el("option", { value: "" }, any), ...options);
}
