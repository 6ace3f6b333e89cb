/** Jobs to choose from where a field wants the id of one: lists beside an input. */

import { get } from "../api.js";
import { outcomeOf, titleOf } from "../describe.js";
import { el } from "../dom.js";

const SHOWN = 50;

export function createSuggestions() {
  const ramps = el("datalist", { id: "range-tests" });
  const trainings = el("datalist", { id: "trainings" });
  const element = el("div", { hidden: "" }, ramps, trainings);
  return { element, listFor, refresh };

  /** The list for a text of this schema, by its id; null where there is none. */
  function listFor({ title, pattern = "" }) {
    if (!pattern.includes("job_")) return null;
    return title === "Range Test" ? ramps.id : trainings.id;
  }

  async function refresh() {
    await Promise.all([
      fill(ramps, "range_test", (job) => job.result?.suggestion),
      fill(trainings, "training", (job) => job.checkpoint !== null),
    ]);
  }

  async function fill(list, kind, fits) {
    const { data } = await get(`v1/jobs?kind=${kind}&limit=${SHOWN}`);
    list.replaceChildren(...data.filter(fits).map((job) =>
      el("option", { value: job.id }, `${titleOf(job)}: ${outcomeOf(job)}`)));
  }
}
