/** Which configuration of a sweep is best, and whether chance may explain its lead. */

import { href } from "../address.js";
import { ApiError, get } from "../api.js";
import { el, setText } from "../dom.js";
import { count, short } from "../numbers.js";
import { endedOf, said } from "./sweeps.js";

const MOST = 50; // configurations

/** Whether there is anything to judge; range tests are picked from, not ranked. */
export const ranks = (sweep) =>
  sweep.judgeable && endedOf(sweep) > 0 && sweep.spec.template.kind !== "range_test";

/** What a judgment answers, or null where the service cannot judge such a sweep. */
export async function judged(sweep, path) {
  try {
    return await get(`v1/sweeps/${sweep.id}/${path}`);
  } catch (error) {
    if (error instanceof ApiError && [404, 409, 422].includes(error.status)) return null;
    throw error;
  }
}

export function createRanking() {
  const verdict = el("p", { class: "outcome" });
  const note = el("p", { class: "note" });
  const table = el("table", { class: "list" });
  const scroll = el("div", { class: "scroll tall", tabindex: 0, role: "region" }, table);
  scroll.setAttribute("aria-label", "Ranking");
  const element = el("section", { hidden: "" }, el("h2", {}, "Which is best"), verdict, scroll,
    note);
  let shown = null;
  return { element, refresh };

  async function refresh(sweep) {
    const told = ranks(sweep) ? await judged(sweep, `ranking?limit=${MOST}`) : null;
    element.hidden = !told?.data.length;
    if (told === shown || element.hidden) return;
    shown = told;
    const { data, metric, configurations } = told;
    const [best] = data;
    setText(verdict, `${said(best.parameters)}: ${best.verdict}.`);
    const seeds = data.some(({ n, diverged }) => n + diverged > 1);
    const heads = ["Configuration", seeds ? `mean ${metric}` : metric, "sd", "Seeds", "Behind", "p", "Verdict"];
    const head = el("tr", {}, ...heads.map((name) => el("th", { scope: "col", class: name === "Verdict" ? "wide" : "" }, name)));
    const caption = el("caption", { class: "hidden" }, "Ranking");
    table.replaceChildren(caption, el("thead", {}, head), el("tbody", {}, ...data.map(rowOf)));
    const more = configurations > data.length;
    const first = more ? `The first ${data.length} of ${count(configurations)}. ` : "";
    setText(note, first + leftOutOf(told.left_out));
  }
}

function rowOf({ parameters, n, diverged, mean, sd, against_best: against, verdict, jobs }) {
  const one = jobs.length === 1;
  const address = one ? href("jobs", jobs[0]) : href("compare", null, { jobs: jobs.join(",") });
  const seeds = diverged ? `${n} of ${n + diverged}` : n;
  const cells = [
    mean === null ? "diverged" : short(mean), sd === null ? "" : short(sd, 2), seeds,
    against?.difference == null ? "" : short(against.difference, 3),
    against?.p == null ? "" : short(against.p, 2), verdict,
  ];
  return el("tr", {},
    el("th", { scope: "row" }, el("a", { href: address }, said(parameters) || "as submitted")),
    ...cells.map((cell, place) => el("td", { class: place === 5 ? "verdict wide" : "" }, String(cell))));
}

function leftOutOf(leftOut) {
  const find = (number) => (number === 1 ? "run that finds the rates" : "runs that find the rates");
  const given = Object.entries(leftOut).filter(([, number]) => number);
  if (!given.length) return "";
  const wordsOf = (why, number) => ({ short: find(number), stopped: "stopped early" })[why] ?? why;
  const words = given.map(([why, number]) => `${count(number)} ${wordsOf(why, number)}`);
  return `Not judged: ${words.join(", ")}.`;
}
