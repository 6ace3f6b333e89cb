/** What a request would do, as one types: its learning rate drawn, the jobs of a sweep counted. */

import { ApiError, send } from "../api.js";
import { createChart } from "../charts/chart.js";
import { around, extent } from "../charts/scales.js";
import { el, setText } from "../dom.js";
import { at, isObject, put, within } from "../forms/pointers.js";
import { count, duration } from "../numbers.js";

const PATIENCE = 300; // ms after a key until it is drawn
const POINTS = 400;
const GUESSED = "an example of 1,000 iterations: a worker will know how many there are";
const REFUSED = "the service refuses it so";
const SHAPE = "only the shape: the rates are what its range test will suggest";
const LENGTH = 1000; // iterations of a preview, where the length is not known in them
const WHOLE_ID = /^job_[0-9a-z]{32,}$/; // one that is still being typed is of nobody

/** `refused(errors, by)` hears what the service says against a request as one types it. */
export function createPreview(refused) {
  const chart = createChart("Learning rate", 220);
  const cost = el("p", { class: "cost", role: "status" });
  const element = el("div", { class: "preview" }, chart.element, cost);
  let timer;
  let latest = 0; // only the newest answer is drawn
  return { element, show, leave: () => clearTimeout(timer) };

  /** Draws a request some time after the last change; `faults` are what is known to be wrong. */
  function show(spec, faults, perEpoch) {
    clearTimeout(timer);
    timer = setTimeout(() => drawn(structuredClone(spec), faults, perEpoch), PATIENCE);
  }

  async function drawn(spec, faults, perEpoch) {
    latest += 1;
    const turn = latest;
    const many = isObject(spec.template);
    const path = many ? "v1/sweeps/preview" : "v1/jobs/preview";
    const plan = faults.length ? null : await asked(turn, path, spec);
    if (turn !== latest) return;
    setText(cost, plan ? costOf(plan) : "");
    const job = many ? spec.template : spec;
    for (const [pointer, value] of Object.entries(plan?.sample?.[0] ?? {})) {
      if (spec.kind === "sweep") put(job, pointer, value);
    }
    const prefix = many ? "/template" : "";
    const wrong = plan?.problems ?? (plan ? [] : faults);
    const broken = (part) => wrong.some((each) => within(each.pointer, prefix + part));
    chart.element.hidden = spec.kind === "recipe";
    if (chart.element.hidden) return;
    const note = many ? "of the first job" : "";
    if (job.kind === "range_test") {
      const { range = {} } = job;
      return draw(broken("/range") ? {} : rampOf(range), { note, log: range.ramp !== "linear" });
    }
    if (!isObject(job.schedule) || broken("/schedule"))
      return draw({}, { note: plan ? REFUSED : "drawn once its fields are filled in" });
    await schedule(job, perEpoch, { note, prefix, turn });
  }

  async function schedule({ schedule: wanted, length }, perEpoch, { note, prefix, turn }) {
    const inner = wanted.policy === "auto" ? wanted.schedule ?? AUTO : wanted;
    const found = inRates(inner);
    const waits = referencesOf(found).some((id) => !WHOLE_ID.test(id));
    if (waits) return draw({}, { note: "drawn once its range test is named" });
    const epochs = length?.epochs ?? cyclesOf(found, length, "epochs") ?? 10;
    const known = length?.iterations ?? cyclesOf(found, length, "iterations");
    const likely = perEpoch === null ? LENGTH : Math.round(epochs * perEpoch);
    const iterations = Math.max(2, known ?? likely);
    const body = { schedule: found, iterations, points: Math.min(POINTS, iterations) };
    body.iterations_per_epoch = perEpoch ?? Math.max(1, Math.round(iterations / epochs));
    const answer = await asked(turn, "v1/schedules/preview", body, prefix, "/schedule");
    if (turn !== latest) return;
    const { iteration: x = [], lr: y = [] } = answer?.columns ?? {};
    const guessed = perEpoch === null && known === undefined ? GUESSED : "";
    const why = wanted.policy === "auto" ? SHAPE : answer ? guessed : REFUSED;
    draw({ x, y }, { note: [note, why].filter(Boolean).join("; ") });
  }

  /** The answer; null where the service refuses. What is wrong is told beside the fields. */
  async function asked(turn, path, body, prefix = "", part = "") {
    try {
      const answer = await send(path, "POST", body);
      if (turn === latest) refused(answer.problems ?? [], path);
      return answer;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 401 || error.status === 0) return null; // the frame says so
      if (turn !== latest) return null;
      refused(error.errors.filter(({ pointer }) => within(pointer, part))
        .map(({ pointer, detail }) => ({ pointer: prefix + pointer, detail })), path);
      return null;
    }
  }

  function draw({ x = [], y = [] }, { log = false, note = "" }) {
    const curves = [{ label: "lr", tone: 3, x, y }];
    const limits = around([y], { log, always: log ? [] : [0] });
    const along = { label: "iteration", limits: extent([...x, 1]) };
    chart.update({ x: along, y: { log, limits }, curves, note });
  }
}

const AUTO = { policy: "one_cycle", max_lr: { range_test: "auto" } };

/** A schedule whose rates of its own range test are numbers: the peak 1, what it begins at 1/4. */
function inRates(schedule) {
  const made = structuredClone(schedule);
  for (const name of ["lr", "base_lr", "max_lr"])
    if (at(made, `/${name}/range_test`) === "auto") made[name] = name === "base_lr" ? 0.25 : 1;
  return made;
}

/** How long so many cycles are, in a unit; undefined where that is not what they are given in. */
function cyclesOf({ step_size: half, t_0: first, t_mult: growth = 1 }, length, unit) {
  const size = half ?? first;
  const amount = unit === "epochs" ? size?.epochs : size;
  if (!length?.cycles || typeof amount !== "number") return undefined;
  if (half !== undefined) return 2 * amount * length.cycles;
  return Array.from({ length: Math.min(length.cycles, 20) }, (_, n) => amount * growth ** n)
    .reduce((sum, each) => sum + each, 0);
}

const referencesOf = (schedule) =>
  Object.values(schedule).flatMap((each) => each?.range_test ?? []);

function rampOf({ start = 1e-7, end = 10, iterations = 300, ramp = "exponential" }) {
  const many = typeof iterations === "number" ? iterations : 300;
  const x = Array.from({ length: Math.min(many, 1e4) }, (_, t) => t);
  const last = x.length - 1 || 1;
  const linear = (t) => start + ((end - start) * t) / last;
  const exponential = (t) => start * (end / start) ** (t / last);
  return { x, y: x.map(ramp === "linear" ? linear : exponential) };
}

function costOf({ jobs, iterations, seconds, at_most: most, steps, problems = [], warnings = [] }) {
  if (problems.length) return against(problems);
  const parts = jobs === undefined ? [] : [`${count(jobs)} job${jobs === 1 ? "" : "s"}`];
  if (iterations !== null) parts.push(`${count(iterations)} iterations`);
  if (seconds !== null) parts.push(`about ${duration(seconds)} of computing`);
  const each = (steps ?? []).map(({ name, jobs: n }) => `${name.replaceAll("_", " ")} ${count(n)}`);
  if (each.length) parts[0] += ` (${each.join(", ")})`;
  if (!parts.length) return warnings.join("; ");
  const atMost = most ?? jobs === undefined; // a job may end early
  return [`${atMost ? "At most " : ""}${parts.join(", ")}.`, ...warnings].join(" ");
}

/** What stands beside no field is said here. */
function against(problems) {
  const whole = problems.filter(({ pointer }) => !pointer).map(({ detail }) => detail);
  const fields = problems.length - whole.length;
  if (fields) whole.unshift(`${fields === 1 ? "one field" : `${fields} fields`} to put right`);
  return `The service would refuse this: ${whole.join("; ")}.`;
}
