/** A new job: its request to edit, the schedule drawn as one types, and what the service says. */

import { href } from "../address.js";
import { ApiError, get, send } from "../api.js";
import { createChart } from "../charts/chart.js";
import { around, extent } from "../charts/scales.js";
import { titleOf } from "../describe.js";
import { el, setText } from "../dom.js";
import { continued, commands, STARTERS, trainedWith } from "./specs.js";

const PATIENCE = 300; // ms after a key until the schedule is drawn
const POINTS = 400;
const GUESSED = "an example of 1,000 iterations: a worker will know how many there are";
const LENGTH = 1000; // iterations of a preview, where the length is not known in them

export function createNewPage(context) {
  const text = el("textarea", { rows: 26, spellcheck: "false", id: "request" });
  const label = el("label", { for: "request" }, "Request, as JSON");
  const fault = el("p", { class: "problem", role: "alert" });
  const faults = el("ul", { class: "problem" });
  const chart = createChart("Learning rate", 220);
  const submit = el("button", { class: "primary" }, "Submit");
  const starters = Object.entries(STARTERS).map(([name, spec]) =>
    el("button", { type: "button", onclick: () => fill(spec) }, name));
  const ways = Object.fromEntries(
    ["curl", "Python", "command line"].map((name) => [name, el("pre", { tabindex: 0 })]));
  const others = Object.entries(ways).map(([name, pre]) =>
    el("details", {}, el("summary", {}, `The same with ${name}`), pre));
  const origin = el("p", { class: "facts" });
  const form = el("form", { class: "new" }, el("div", {}, label, text),
    el("div", {},
      el("div", { class: "controls" }, submit, el("span", {}, "or begin with"), ...starters),
      fault, faults, chart.element, ...others));
  const element = el("section", {}, el("h1", {}, "New job"), origin, form);
  let from = null; // what the text was made from
  let perEpoch = null;
  let timer;

  text.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(typed, PATIENCE);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  return { element, title: "New job", refresh, leave: () => clearTimeout(timer) };

  async function refresh() {
    const wanted = context.view.get("from") ?? "";
    if (from === wanted) return false;
    from = wanted;
    if (!wanted) return fill(STARTERS["a range test"]);
    const job = await jobOf(wanted);
    if (!job) {
      origin.replaceChildren(`${wanted} is not there any more: this is an example instead.`);
      return fill(STARTERS["a training"]);
    }
    perEpoch = job.resolved?.iterations_per_epoch ?? null;
    const words = job.kind === "range_test" ? "With what was found by " : "Going on from ";
    origin.replaceChildren(words, el("a", { href: href("jobs", job.id) }, titleOf(job)), ".");
    return fill(job.kind === "range_test" ? trainedWith(job) : continued(job));
  }

  function fill(spec) {
    text.value = JSON.stringify(spec, null, 2);
    typed();
    return false;
  }

  /** The text as a value; null where it is no JSON, and says why. */
  function parsed() {
    try {
      const spec = JSON.parse(text.value);
      setText(fault, "");
      return spec;
    } catch (error) {
      setText(fault, `This is no JSON yet: ${error.message}`);
      return null;
    }
  }

  function typed() {
    const spec = parsed();
    faults.replaceChildren();
    submit.disabled = spec === null;
    if (!spec) return;
    const written = commands(spec, context.session.signedIn);
    for (const [name, pre] of Object.entries(ways)) setText(pre, written[name]);
    preview(spec);
  }

  async function preview({ kind, schedule, length, range }) {
    chart.element.hidden = !(kind === "training" ? schedule : range);
    if (kind === "range_test") return void draw(rampOf(range ?? {}), range?.ramp !== "linear");
    const iterations = length?.iterations ?? Math.round((length?.epochs ?? 0) * (perEpoch ?? 0));
    const body = { schedule, iterations: iterations || LENGTH };
    body.points = Math.min(POINTS, body.iterations);
    const guess = Math.max(1, Math.round(body.iterations / (length?.epochs ?? 10)));
    body.iterations_per_epoch = perEpoch ?? guess;
    try {
      const { columns } = await send("v1/schedules/preview", "POST", body);
      const guessed = perEpoch === null && !length?.iterations;
      draw({ x: columns.iteration, y: columns.lr }, false, guessed ? GUESSED : "");
    } catch (error) {
      if (!(error instanceof ApiError) || error.status === 401) throw error;
      const faulty = error.errors.map(({ pointer, detail }) => `${pointer} ${detail}`);
      draw({ x: [], y: [] }, false, faulty.join("; ") || error.message);
    }
  }

  function draw({ x, y }, log, note = "") {
    const curves = [{ label: "lr", tone: 3, x, y }];
    const limits = around([y], { log, always: log ? [] : [0] });
    const along = { label: "iteration", limits: extent([...x, 1]) };
    chart.update({ x: along, y: { log, limits }, curves, note });
  }

  async function run() {
    clearTimeout(timer);
    const spec = parsed();
    if (!spec) return;
    submit.disabled = true;
    try {
      const job = await send("v1/jobs", "POST", spec);
      location.hash = href("jobs", job.id);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setText(fault, `Refused: ${error.message}`);
      faults.replaceChildren(...error.errors.map(({ pointer, detail }) => {
        const leads = { type: "button", onclick: () => reveal(pointer) };
        return el("li", {}, el("button", leads, pointer || "/"), ` ${detail}`);
      }));
    } finally {
      submit.disabled = false;
    }
  }

  /** Selects the line of a field. */
  function reveal(pointer) {
    const name = pointer.split("/").findLast((part) => Number.isNaN(Number(part)));
    const at = text.value.indexOf(`"${name}"`);
    text.focus();
    if (at < 0) return;
    text.setSelectionRange(at, (text.value + "\n").indexOf("\n", at));
  }
}

async function jobOf(id) {
  try {
    return await get(`v1/jobs/${id}`);
  } catch (error) {
    if (error instanceof ApiError && [404, 422].includes(error.status)) return null;
    throw error;
  }
}

function rampOf({ start = 1e-7, end = 10, iterations = 300, ramp = "exponential" }) {
  const x = Array.from({ length: Math.min(iterations, 1e4) }, (_, t) => t);
  const last = x.length - 1 || 1;
  const linear = (t) => start + ((end - start) * t) / last;
  const exponential = (t) => start * (end / start) ** (t / last);
  return { x, y: x.map(ramp === "linear" ? linear : exponential) };
}
