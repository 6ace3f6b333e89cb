/** The losses of many jobs at a glance, for the cells of a list. */

import { ApiError, get } from "../api.js";
import { finished } from "../describe.js";

const TOGETHER = 50; // jobs in one request, as many as the service allows
const POINTS = 60;

const known = new Map(); // job -> {mark, loss: []}

/** The losses of each job by its id; asked for only where something has been recorded since. */
export async function losses(jobs) {
  const mark = (job) => `${job.attempt} ${job.progress.iteration} ${finished(job)}`;
  const stale = jobs.filter((job) => job.attempt && known.get(job.id)?.mark !== mark(job));
  for (let first = 0; first < stale.length; first += TOGETHER) {
    const some = stale.slice(first, first + TOGETHER);
    const ids = some.map((job) => job.id).join(",");
    try {
      const { data } = await get(`v1/series?jobs=${ids}&names=loss&points=${POINTS}`);
      data.forEach((rows, index) => {
        known.set(rows.job, { mark: mark(some[index]), loss: rows.columns.loss });
      });
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error; // deleted meanwhile
    }
  }
  const listed = new Set(jobs.map((job) => job.id));
  for (const id of known.keys()) if (!listed.has(id)) known.delete(id);
  return new Map([...known].map(([id, { loss }]) => [id, loss]));
}
