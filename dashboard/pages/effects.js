/** What matters in a sweep: each parameter's share, and the objective over one or two of them. */

import { queryOf } from "../address.js";
import { coloursOf, placesOf } from "../charts/colours.js";
import { choice } from "../controls.js";
import { el, setText } from "../dom.js";
import { percent, short } from "../numbers.js";
import { judged, ranks } from "./ranking.js";
import { valueOf } from "./sweeps.js";

export function createEffects(context) {
  const turn = (changes) => context.turn(changes);
  const across = choice("Across", "across", [["", "the one that matters most"]], turn);
  const down = choice("down", "down", [["", "the next"]], turn);
  const [shares, pair, marginal] = [1, 2, 3].map(() => el("table", { class: "list" }));
  const names = ["Importance", "Over two parameters", "Along one parameter"];
  const boxes = [shares, pair, marginal].map((table, place) => {
    const box = el("div", { class: "scroll", tabindex: 0, role: "region" }, table);
    box.setAttribute("aria-label", names[place]);
    return box;
  });
  const note = el("p", { class: "note" });
  const both = el("div", {}, el("h2", {}, names[1]),
    el("div", { class: "controls" }, across.element, down.element), boxes[1]);
  const element = el("section", { hidden: "" }, el("h2", {}, "What matters"), boxes[0], note, both,
    el("h2", {}, names[2]), boxes[2]);
  const shown = new Map(); // table: its answer
  return { element, refresh };

  async function refresh(sweep) {
    const told = ranks(sweep) ? await judged(sweep, "importance") : null;
    element.hidden = !told?.data.length;
    if (element.hidden) return;
    const paths = told.data.map((each) => each.parameter);
    for (const each of [across, down]) offer(each, paths);
    draw(shares, told, sharesOf);
    setText(note, told.warnings.map((each) => `Note: ${each}.`).join(" "));
    const x = across.read(context.view) || paths[0];
    const y = down.read(context.view) || paths.find((path) => path !== x);
    both.hidden = !y || paths.length < 2;
    const query = queryOf({ x, y });
    const two = both.hidden || x === y ? null : await judged(sweep, `pairs?${query}`);
    boxes[1].hidden = !two;
    if (two) draw(pair, two, heatOf);
    const one = await judged(sweep, `marginals?${queryOf({ parameter: x })}`);
    boxes[2].hidden = !one;
    if (one) draw(marginal, one, marginalOf);
  }

  function draw(table, told, partsOf) {
    if (shown.get(table) === told) return;
    shown.set(table, told);
    const { heads, rows, caption } = partsOf(told);
    const head = el("tr", {}, ...heads.map((name) => el("th", { scope: "col" }, name)));
    table.replaceChildren(el("caption", {}, caption), el("thead", {}, head),
      el("tbody", {}, ...rows));
  }
}

function offer({ field }, paths) {
  const there = [...field.options].slice(1).map((option) => option.value);
  if (there.join() === paths.join()) return;
  field.replaceChildren(field.options[0],
    ...paths.map((path) => el("option", { value: path }, path)));
}

function sharesOf({ data, trials, interactions }) {
  const row = (name, share, p, n) => el("tr", {},
    el("th", { scope: "row" }, name), el("td", {}, percent(Math.round(1000 * share) / 1000)),
    el("td", {}, bar(name, share)), el("td", {}, p), el("td", {}, String(n)));
  const rows = data.map(({ parameter, share, p, n }) =>
    row(parameter, share, p < 0.001 ? "< 0.001" : short(p, 2), n));
  const [two] = interactions;
  if (two?.share > 0.01) rows.push(row(`${two.parameters.join(" with ")}`, two.share, "", two.n));
  const caption = `Share of the variance that goes with each parameter, over ${trials} trials`;
  return { heads: ["Parameter", "Share", "", "p", "Trials"], rows, caption };
}

function bar(name, share) {
  const field = el("progress", { class: "share", max: 1, value: Math.max(0, share) });
  field.setAttribute("aria-label", `share of ${name}`);
  return field;
}

const last = (path) => path.split("/").at(-1);
const namesOf = ({ value, low, high, others }) =>
  value.map((each, place) => {
    if (others[place]) return `${others[place]} others`;
    if (low[place] === null) return valueOf(each);
    const [from, to] = [low[place], high[place]].map((edge) => short(edge, 3));
    return from === to ? from : `${from} to ${to}`;
  });

/** A cell whose ground is the colour of its value. */
function coloured(value, colour, words) {
  const cell = el("td", { class: value === null ? "" : "heat" }, words);
  if (value !== null) cell.style.setProperty("--heat", colour);
  return cell;
}

function heatOf({ metric, direction, x, y, x_bins: across, y_bins: down, mean, n, diverged }) {
  const flat = coloursOf(placesOf(mean.flat(), direction));
  const width = across.value.length;
  const rows = namesOf(down).map((name, row) => el("tr", {}, el("th", { scope: "row" }, name),
    ...mean[row].map((value, column) => {
      const none = diverged[row][column] ? "diverged" : "";
      const cell = coloured(value, flat[row * width + column], value === null ? none : short(value));
      cell.title = `${n[row][column]} trials`;
      return cell;
    })));
  const caption = `Mean ${metric}: ${last(y)} down, ${last(x)} across`;
  return { heads: [`${last(y)} \\ ${last(x)}`, ...namesOf(across)], rows, caption };
}

function marginalOf({ metric, direction, data: [found] }) {
  const colours = coloursOf(placesOf(found.mean, direction));
  const figure = (value) => (value === null ? "" : short(value));
  const rows = namesOf(found.bins).map((name, row) => el("tr", {}, el("th", { scope: "row" }, name),
    coloured(found.mean[row], colours[row], figure(found.mean[row])),
    ...["best", "lower", "median", "upper"].map((each) => el("td", {}, figure(found[each][row]))),
    el("td", {}, String(found.n[row])), el("td", {}, String(found.diverged[row]))));
  const heads = [last(found.parameter), "Mean", "Best", "Lower quartile", "Median",
    "Upper quartile", "Trials", "Diverged"];
  return { heads, rows, caption: `${metric} along ${last(found.parameter)}` };
}
