/** What to make of a sweep's results: configurations ranked over their seeds, what matters most. */

import { href } from "../address.js";
import { ApiError, get } from "../api.js";
import { el, setText } from "../dom.js";
import { count, short } from "../numbers.js";
import { valueOf } from "./sweeps.js";

const SHOWN = 20; // configurations
const PERCENT = 100;
const SMALL = 0.001; // of p values

/** The section; `refresh` fills it, and hides it while nothing can be judged. */
export function createJudged(id) {
  const verdict = el("p", { class: "outcome" });
  const ranking = el("table", { class: "list" });
  const scroll = el("div", { class: "scroll", tabindex: 0, role: "region" }, ranking);
  scroll.setAttribute("aria-label", "Ranking");
  const left = el("p", { class: "note" });
  const bars = el("table", { class: "list" });
  const matters = el("div", {}, el("h2", {}, "What matters"), bars);
  const warnings = el("p", { class: "note" });
  matters.append(warnings);
  const title = el("h2", {}, "Which is best");
  const element = el("section", { hidden: "" }, title, verdict, scroll, left, matters);
  let seen = [];
  return { element, refresh };

  async function refresh() {
    let found;
    try {
      found = await Promise.all(["ranking?limit=20", "importance"].map((what) =>
        get(`v1/sweeps/${id}/${what}`)));
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 409) throw error;
      element.hidden = true; // range tests are compared by their pick
      return;
    }
    if (found.every((each, place) => each === seen[place])) return;
    seen = found;
    const [ranked, importance] = found;
    element.hidden = ranked.data.length === 0;
    if (!ranked.data.length) return;
    setText(verdict, `The best is ${ranked.data[0].verdict}.`);
    rank(ranked);
    weigh(importance);
  }

  function rank({ data, metric, repeated, configurations, left_out: out }) {
    const paths = [...new Set(data.flatMap((each) => Object.keys(each.parameters)))];
    const varied = paths.filter((path) =>
      new Set(data.map((each) => JSON.stringify(each.parameters[path]))).size > 1);
    const times = repeated.includes("/seed") ? "Seeds" : "Repeats";
    const heads = [`${metric}, mean`, "Spread", times, ...varied, "Against the best"];
    const rows = data.map((each) => el("tr", {},
      el("th", { scope: "row" }, el("a", { href: compared(each.jobs) }, worth(each))),
      el("td", {}, each.sd === null ? "" : `± ${short(each.sd)}`),
      el("td", {}, String(each.n) + (each.diverged ? `, ${each.diverged} diverged` : "")),
      ...varied.map((path) =>
        el("td", {}, path in each.parameters ? valueOf(each.parameters[path]) : "")),
      el("td", {}, against(each))));
    const caption = el("caption", { class: "hidden" }, "Configurations, the best first");
    const head = el("tr", {}, ...heads.map((name) => el("th", { scope: "col" }, name)));
    ranking.replaceChildren(caption, el("thead", {}, head), el("tbody", {}, ...rows));
    const more = configurations > SHOWN ? [`the best ${SHOWN} of ${count(configurations)}`] : [];
    const missing = Object.entries(out).filter(([, number]) => number);
    const said = missing.map(([why, number]) => `${count(number)} ${why}`).join(", ");
    setText(left, [...more, ...(said ? [`left out: ${said}`] : [])].join(" · "));
  }

  function weigh({ data, warnings: said }) {
    matters.hidden = data.length === 0;
    const heads = ["Parameter", "Share of the spread", "p"];
    const head = el("tr", {}, ...heads.map((name) => el("th", { scope: "col" }, name)));
    const rows = data.map(({ parameter, share, p }) => el("tr", {},
      el("th", { scope: "row" }, parameter),
      el("td", {}, el("progress", { max: 1, value: share, "aria-label": `share of ${parameter}` }),
        el("small", {}, `${Math.round(PERCENT * share)} %`)),
      el("td", {}, p === null ? "" : chance(p))));
    const caption = el("caption", { class: "hidden" }, "How much goes with each parameter");
    bars.replaceChildren(caption, el("thead", {}, head), el("tbody", {}, ...rows));
    setText(warnings, said.join("; "));
  }
}

const worth = ({ mean }) => (mean === null ? "diverged" : short(mean));

const compared = (jobs) => (jobs.length > 1
  ? href("compare", null, { jobs: jobs.join(",") })
  : href("jobs", jobs[0]));

function against({ against_best: other }) {
  if (!other) return "";
  if (other.p === null) return "not compared";
  return `${other.told_apart ? "worse" : "not told apart"}, p ${chance(other.p)}`;
}

/** A p value: two digits, and none where it is smaller than anybody needs to know. */
const chance = (p) => (p < SMALL ? `< ${SMALL}` : `= ${short(p, 2)}`);
