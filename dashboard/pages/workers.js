/** The table of workers: what each is, what it does, how fast, and when it was last heard of. */

import { href } from "../address.js";
import { ApiError, get } from "../api.js";
import { titleOf } from "../describe.js";
import { el, setText } from "../dom.js";
import { duration, secondsBetween, short } from "../numbers.js";

const HEADS = ["State", "Name", "Device", "Job", "Speed", "Heartbeat", "Queues", "Versions"];
const NARROW = ["Device", "Queues", "Versions"];

export function createWorkersPage() {
  const rows = new Map();
  const body = el("tbody");
  const head = el("tr", {}, ...HEADS.map((name) =>
    el("th", { scope: "col", class: NARROW.includes(name) ? "wide" : "" }, name)));
  const caption = el("caption", { class: "hidden" }, "Workers");
  const table = el("table", { class: "list" }, caption, el("thead", {}, head), body);
  const none = el("p", { class: "empty", hidden: "" },
    "No worker has been here. ", el("code", {}, "stepsize up"), " starts one with the service, ",
    el("code", {}, "stepsize worker"),
    " those of any machine that reaches database and broker.");
  const element = el("section", {}, el("h1", {}, "Workers"), table, none);
  return { element, title: "Workers", refresh };

  async function refresh() {
    const { data } = await get("v1/workers");
    const jobs = await Promise.all(data.map(({ job }) => (job ? jobOf(job) : null)));
    const names = new Set(data.map(({ name }) => name));
    for (const [name, row] of rows) if (!names.has(name)) rows.delete(name), row.element.remove();
    data.forEach((worker, index) => {
      if (!rows.has(worker.name)) rows.set(worker.name, createRow());
      const row = rows.get(worker.name);
      row.show(worker, jobs[index]);
      if (body.children[index] !== row.element)
        body.insertBefore(row.element, body.children[index] ?? null);
    });
    table.hidden = data.length === 0;
    none.hidden = data.length > 0;
    return data.some(({ state }) => state === "busy");
  }
}

async function jobOf(id) {
  try {
    return await get(`v1/jobs/${id}`);
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null; // deleted meanwhile
    throw error;
  }
}

function createRow() {
  const state = el("span");
  const why = el("p", { class: "facts" });
  const name = el("th", { scope: "row" });
  const [device, queues, versions] = [1, 2, 3].map(() => el("td", { class: "wide" }));
  const link = el("a");
  const speed = el("td");
  const heard = el("td");
  const cells = [
    el("td", {}, state, why), name, device, el("td", {}, link), speed, heard, queues, versions,
  ];
  return { element: el("tr", {}, ...cells), show };

  function show(worker, job) {
    setText(state, worker.state);
    state.className = `state ${worker.state}`;
    const { reason, until } = worker.quarantine ?? {};
    why.hidden = !reason;
    setText(why, reason ? `until ${new Date(until).toLocaleTimeString()}: ${reason}` : "");
    setText(name, worker.name);
    setText(device, worker.device);
    link.hidden = !job;
    if (job) link.href = href("jobs", job.id);
    setText(link, job ? titleOf(job) : "");
    setText(speed, job ? speedOf(job) : "");
    const seconds = Math.max(0, Math.floor(secondsBetween(worker.last_heartbeat, null)));
    setText(heard, `${duration(seconds)} ago`);
    setText(queues, worker.queues.join(", "));
    setText(versions, Object.entries(worker.versions).map((pair) => pair.join(" ")).join(", "));
  }
}

/** Iterations a second since the attempt began, as the last heartbeat has told. */
export function speedOf({ attempts, progress }) {
  const attempt = attempts?.at(-1);
  if (!attempt || attempt.ended_at !== null) return "";
  const seconds = secondsBetween(attempt.started_at, null);
  const done = progress.iteration - attempt.began;
  return seconds > 1 && done > 0 ? `${short(done / seconds, 3)} iterations/s` : "";
}
