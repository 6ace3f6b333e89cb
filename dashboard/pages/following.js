/** Jobs of a page that are followed on one stream, so that it need not ask for them. */

import { followAll } from "../api.js";

const MOST = 100; // jobs on one stream, as many as the service allows
const DEAF = 10_000; // ms until a stream that broke is tried again; the page asks meanwhile
const HASTE = 300; // ms between changes of state that are shown at once

/**
 * `moved()` hears of a change of state and of a stream that broke; mere progress is there to be
 * taken when the page is drawn next. Nothing is followed while nobody looks at `element`.
 */
export function createFollowing(element, moved) {
  let live = null;
  let known = new Map(); // of those on the stream: id -> state and attempt
  const told = new Map(); // id -> the job as it was last told
  let deaf = 0; // until then it is no use to listen
  let hasty = 0;
  return { follow, follows, open: () => live !== null, latest, forget, leave };

  /** Whether every change of the job will be told. */
  function follows(id) {
    return live !== null && known.has(id);
  }

  /** Follows these jobs, the first ones where they are too many. */
  function follow(jobs) {
    const wanted = jobs.slice(0, MOST);
    if (!wanted.length) return leave();
    if (live && wanted.every(({ id }) => known.has(id))) return;
    if (document.hidden || !element.isConnected || performance.now() < deaf) return;
    leave();
    known = new Map(wanted.map((job) => [job.id, markOf(job)]));
    live = followAll([...known.keys()]);
    live.addEventListener("state", heard);
    live.addEventListener("end", ended);
    live.addEventListener("error", () => {
      deaf = performance.now() + DEAF;
      leave();
      moved();
    });
  }

  function heard({ data }) {
    const job = JSON.parse(data);
    told.set(job.id, job);
    const mark = markOf(job);
    if (known.get(job.id) === mark) return;
    known.set(job.id, mark);
    if (performance.now() < hasty) return; // soon enough, with the next progress
    hasty = performance.now() + HASTE;
    moved();
  }

  function ended({ data }) {
    const { job, reason } = JSON.parse(data);
    known.delete(job);
    if (reason === "deleted") moved();
    if (!known.size) leave(); // before the service closes it, which would look like a fault
  }

  /** The job as it was last told, else as it is given. */
  function latest(job) {
    return told.has(job.id) ? { ...job, ...told.get(job.id) } : job;
  }

  /** What was told is older than what is about to be asked for. */
  function forget(id) {
    if (id === undefined) told.clear();
    else told.delete(id);
  }

  function leave() {
    live?.close();
    live = null;
    known = new Map();
  }
}

const markOf = ({ state, attempt }) => `${state} ${attempt}`;
