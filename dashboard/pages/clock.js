/** Where iterations lie on other axes: epochs, and seconds of training. */

import { secondsBetween } from "../numbers.js";

export const AXES = [
  ["iteration", "iteration"],
  ["epoch", "epoch"],
  ["time", "training time"],
];

/** Maps iterations to the axis `name`: {label, at, back}; to iterations where that is unknown. */
export function axisOf(name, job, offset = 0) {
  const per = job.resolved?.iterations_per_epoch;
  if (name === "epoch" && per)
    return { label: "epoch", at: (value) => value / per, back: (value) => value * per };
  const knots = name === "time" ? knotsOf(job) : [];
  if (knots.length > 1) {
    const [from, to] = [knots.map((knot) => knot[0] - offset), knots.map((knot) => knot[1])];
    return {
      label: "seconds of training",
      at: (value) => interpolated(from, to, value),
      back: (value) => interpolated(to, from, value),
    };
  }
  return { label: "iteration", at: Number, back: Number };
}

/**
 * Pairs of iteration and seconds, both ascending: the beginning and the end of each attempt, which
 * is taken to have been equally fast throughout. What is computed again takes the place of before.
 */
export function knotsOf({ attempts = [], progress, parent }) {
  const knots = [];
  for (const { began, iterations, started_at, ended_at } of attempts) {
    const end = iterations ?? progress.iteration;
    const spent = secondsBetween(started_at, ended_at);
    const before = knots.length ? interpolated(...columns(knots), began) : 0;
    while (knots.length && knots.at(-1)[0] >= began) knots.pop();
    knots.push([began, before]);
    if (end > began) knots.push([end, before + Math.max(spent, 1e-3)]);
  }
  return parent && knots.length === 1 ? [] : knots;
}

const columns = (knots) => [knots.map((knot) => knot[0]), knots.map((knot) => knot[1])];

/** Piecewise linear, and beyond its ends as the nearest piece goes. */
export function interpolated(from, to, value) {
  let piece = 1;
  while (piece < from.length - 1 && from[piece] < value) piece++;
  if (from.length < 2) return to[0];
  const [a, b] = [from[piece - 1], from[piece]];
  return to[piece - 1] + ((value - a) / (b - a || 1)) * (to[piece] - to[piece - 1]);
}
