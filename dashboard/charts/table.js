/** The data behind a chart, as a table to fold out. */

import { el } from "../dom.js";

/** `show(model)` fills it, but only while it is open. */
export function createTable(title) {
  const table = el("table");
  const scroll = el("div", { class: "scroll", tabindex: 0, role: "region" }, table);
  const details = el("details", {}, el("summary", {}, "Data"), scroll);
  scroll.setAttribute("aria-label", `Data: ${title}`);
  let model = null;
  details.addEventListener("toggle", fill);
  return { element: details, show };

  function show(next) {
    model = next;
    fill();
  }

  function fill() {
    if (!details.open || !model) return;
    const curves = model.curves.filter((curve) => !curve.derived);
    const heads = [model.x.label, ...curves.map((curve) => curve.name ?? curve.label)];
    const head = el("tr", {}, ...heads.map((name) => el("th", { scope: "col" }, name)));
    const rows = merged(curves).map(([at, values]) =>
      el("tr", {}, ...[at, ...values].map((value) => el("td", {}, String(value)))),
    );
    table.replaceChildren(el("thead", {}, head), el("tbody", {}, ...rows));
  }
}

/** Rows of `[x, [value of each curve]]`, ascending in x. */
export function merged(curves) {
  const rows = new Map();
  curves.forEach((curve, column) =>
    curve.x.forEach((at, index) => {
      if (!rows.has(at)) rows.set(at, Array(curves.length).fill(""));
      rows.get(at)[column] = curve.y[index] ?? "not finite";
    }),
  );
  return [...rows].sort(([a], [b]) => a - b);
}
