/** What is marked on the pictures of a training: cycles, snapshots, checkpoints, restarts. */

import { count } from "../numbers.js";

const MOST = 60; // lines of one kind; more would hide the curves

export const KINDS = {
  cycle: "cycle ends",
  snapshot: "snapshot",
  checkpoint: "checkpoint",
  restart: "another attempt",
};

/** Marks at iterations: `[{x, kind, label, after}]`. */
export function marksOf(job, checkpoints) {
  const iterations = job.progress.iteration;
  const at = (kind, places) => {
    const inside = places.filter((x) => x <= iterations);
    return inside.length > MOST ? [] : inside.map((x) => ({ x, kind, label: "" }));
  };
  const snapshots = (job.result?.snapshots ?? []).map((each) => each.iteration);
  const ends = cycleEnds(job.resolved?.schedule, job.progress.iterations ?? iterations);
  const cycles = ends.filter((x) => !snapshots.includes(x));
  const saved = checkpoints.map((each) => each.iteration);
  const restarts = (job.attempts ?? []).slice(1).map(({ attempt, began }) => (
    { x: began, kind: "restart", label: `attempt ${attempt}`, after: true }));
  const diverged = job.result?.diverged_at ?? null;
  const label = `diverged at ${count(diverged ?? 0)}`;
  const end = { x: diverged, kind: "bad", label, after: true };
  return [
    ...at("cycle", cycles),
    ...at("checkpoint", saved.filter((x) => !snapshots.includes(x) && !cycles.includes(x))),
    ...at("snapshot", snapshots),
    ...restarts,
    ...(diverged === null ? [] : [end]),
  ];
}

/** The iterations at which the cycles of a schedule end in a run of `stop` iterations. */
export function cycleEnds(schedule, stop) {
  const ends = [];
  const warmup = typeof schedule?.warmup === "number" ? schedule.warmup : 0;
  let [length, factor] = cycleOf(schedule ?? {}, stop - warmup);
  if (!length) return ends;
  for (let at = warmup + length; at <= stop && ends.length <= MOST; at += length) {
    ends.push(Math.round(at));
    length *= factor;
    if (!(length >= 1)) break;
  }
  return ends;
}

/** Length of the first cycle in iterations, and by what each next one is longer. */
function cycleOf(schedule, iterations) {
  const counts = (value) => (typeof value === "number" && value > 0 ? value : null);
  if (["triangular", "triangular2", "exp_range"].includes(schedule.policy))
    return [2 * counts(schedule.step_size), 1];
  if (schedule.policy === "sgdr") return [counts(schedule.t_0), schedule.t_mult ?? 1];
  if (schedule.policy === "snapshot") return [Math.ceil(iterations / schedule.cycles), 1];
  return [null, 1];
}
