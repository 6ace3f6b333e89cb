/** The table of jobs, newest first, with filters, and a choice of some to compare. */

import { href, queryOf } from "../address.js";
import { get } from "../api.js";
import { finished, moving, STATES } from "../describe.js";
import { el, setText } from "../dom.js";
import { createFollowing } from "./following.js";
import { createRow } from "./row.js";
import { losses } from "./sparklines.js";
import { createWelcome } from "./welcome.js";

const PAGE = 50;
const MOST = 500;
const AFRESH = 3000; // ms between lists while the jobs in them are followed: others may have come
const PATIENCE = 200; // ms after a key until it is searched
const NONE = { state: null, kind: null, q: null, tag: null };
const PICKED = 50; // jobs to compare
const HEADS = [
  "Pick", "State", "Name", "Kind", "Model", "Schedule", "Progress", "Loss", "Age", "Worker",
];
const NARROW = ["Kind", "Model", "Schedule", "Age", "Worker"]; // not on a phone

export function createJobsPage(context) {
  const { turn, session } = context;
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
  const none = el("button", { type: "button", onclick: () => turn({ picked: null }) }, "Untick all");
  const filters = el("form", { class: "filters", role: "search" },
    state, kind, query, tag, clear, compare, none);
  const more = el("button", { type: "button" }, "Older jobs");
  const empty = el("p", { class: "empty" }, "No job matches these filters.");
  const welcome = el("div");
  const element = el("section", {}, el("h1", {}, "Jobs"), filters, table, empty, welcome, more);
  const following = createFollowing(element, () => {
    moved = true;
    context.wake();
  });
  let current = context.view;
  let timer = null;
  let listed = null; // {query, at, told}: the page of jobs, and when it was asked for
  let moved = false; // a job is in another state since

  for (const part of [table, empty, more, clear]) part.hidden = true;
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, PATIENCE);
  });
  more.addEventListener("click", () => turn({ limit: Math.min(limit() + PAGE, MOST) }));
  table.addEventListener("change", choose);
  return { element, title: "Jobs", refresh, turned, leave };

  function leave() {
    clearTimeout(timer);
    following.leave();
  }

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
    const ids = chosen();
    for (const [id, row] of rows) row.choose(ids.has(id));
    compare.href = href("compare", null, { jobs: [...ids].join(",") });
    setText(compare, ids.size ? `Compare ${ids.size}` : "Compare");
    none.hidden = ids.size === 0;
  }

  async function refresh() {
    const asked = current;
    const { told, most } = await list(asked);
    const { next_cursor: next } = told;
    const data = told.data.map(following.latest);
    const known = await losses(data);
    if (asked !== current) return true;
    const nothing = data.length === 0;
    table.hidden = nothing; // before anything is drawn in it
    const ids = new Set(data.map((job) => job.id));
    for (const [id, row] of rows) if (!ids.has(id)) rows.delete(id), row.element.remove();
    data.forEach((job, place) => {
      if (!rows.has(job.id)) rows.set(job.id, createRow(job.id, chosen().has(job.id)));
      const row = rows.get(job.id);
      if (body.children[place] !== row.element)
        body.insertBefore(row.element, body.children[place] ?? null);
      row.show(job, known.get(job.id));
    });
    empty.hidden = !(nothing && filtered());
    teach(nothing && !filtered());
    more.hidden = next === null || most >= MOST;
    following.follow(foremost(data.filter((job) => !finished(job))));
    return data.some(moving);
  }

  /** The page of jobs that the address wants; the one that is there while its jobs are followed. */
  async function list(asked) {
    const { limit: most = PAGE, picked, ...wanted } = Object.fromEntries(asked);
    if (wanted.tag && !wanted.tag.includes(":")) delete wanted.tag; // while it is typed
    const query = queryOf({ limit: most, ...wanted });
    const due = listed?.query !== query || performance.now() - listed.at >= AFRESH;
    if (due || moved || !following.open()) {
      moved = false;
      following.forget();
      const at = performance.now();
      listed = { query, at, told: await get(`v1/jobs?${query}`) };
    }
    return { told: listed.told, most };
  }

  /** Those in sight first, since one stream does not take all. */
  function foremost(jobs) {
    const inSight = ({ id }) => {
      const { top, bottom } = rows.get(id).element.getBoundingClientRect();
      return bottom > 0 && top < innerHeight;
    };
    const [seen, unseen] = [jobs.filter(inSight), jobs.filter((job) => !inSight(job))];
    return [...seen, ...unseen];
  }

  function teach(needed) {
    filters.hidden = needed;
    if (needed) welcome.replaceChildren(createWelcome(session.signedIn));
    else welcome.replaceChildren();
  }

  function filtered() {
    return Object.keys(NONE).some((name) => current.get(name));
  }

  /** The jobs that are ticked, also where a filter hides them. */
  function chosen() {
    const given = (current.get("picked") ?? "").split(",");
    return new Set(given.filter((id) => /^job_[0-9a-z]+$/.test(id)).slice(0, PICKED));
  }

  function choose({ target }) {
    const ids = chosen();
    if (target.checked) ids.add(target.value);
    else ids.delete(target.value);
    if (ids.size > PICKED) target.checked = false;
    else turn({ picked: [...ids].join(",") });
  }
}

function choice(name, any, values) {
  const options = values.map((value) => el("option", { value }, value.replace("_", " ")));
  return el("select", { "aria-label": name }, el("option", { value: "" }, any), ...options);
}
