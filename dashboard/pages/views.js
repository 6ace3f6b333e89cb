/** Views of a job's series: rows that the service has reduced to about one for every pixel. */

import { get } from "../api.js";
import { queryOf } from "../address.js";
import { count, short } from "../numbers.js";

const POINTS = 1000;

/** Columns of `names`, extremes of the first; between `start` and `stop` where they are given. */
export function viewOf(job, names, { repeat = 0, start = null, stop = null } = {}) {
  const query = queryOf({ names: names.join(","), points: POINTS, repeat, start, stop });
  return get(`v1/jobs/${job.id}/series?${query}`);
}

/** What is recorded of each iteration of a job's training. */
export function recordedBy({ spec, resolved }) {
  const names = ["loss", "lr", ...(spec.record ?? [])];
  if (cyclesMomentum(resolved?.schedule)) names.push("momentum");
  return names;
}

function cyclesMomentum(value) {
  if (value === null || typeof value !== "object") return false;
  if (typeof value.base_momentum === "number") return true;
  return Object.values(value).some(cyclesMomentum);
}

/** Values beyond the picture, and how much the service has left out, in words. */
export function notes(cut, views, ...more) {
  const said = [...more];
  if (cut !== null) said.push(`losses up to ${short(cut)} lie above the picture`);
  const view = views.find((rows) => rows.reduced);
  if (view) {
    const share = `${count(view.returned)} of ${count(view.total_points)} iterations`;
    said.push(`${share}: the extremes of each ${view.reduced.bucket}; zoom in for all of them`);
  }
  const damaged = views.flatMap((rows) => rows.damaged);
  if (damaged.length) said.push(`${damaged.length} stored chunks cannot be read: rows are missing`);
  return said.filter(Boolean).join(" · ");
}
