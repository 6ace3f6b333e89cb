/** Views of one thing of which one is shown, as tabs (ARIA's pattern: arrows move between them). */

import { el } from "../dom.js";

/**
 * `views` are name -> [words, element]; `allowed(name)` is asked before one is shown; `turn(name)`
 * hears what somebody chose.
 */
export function createTabs(views, allowed, turn) {
  const names = Object.keys(views);
  const tabs = names.map((name) => {
    const tab = el("button", { type: "button", role: "tab", id: `tab:${name}` }, views[name][0]);
    tab.setAttribute("aria-controls", `panel:${name}`);
    tab.addEventListener("click", () => choose(name));
    return tab;
  });
  const list = el("div", { class: "tabs", role: "tablist", "aria-label": "Views" }, ...tabs);
  const panels = names.map((name) => el("div", {
    role: "tabpanel", id: `panel:${name}`, "aria-labelledby": `tab:${name}`,
  }, views[name][1]));
  const element = el("div", {}, list, ...panels);
  let current = null;
  list.addEventListener("keydown", ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (!step) return;
    const next = names.at((names.indexOf(current) + step) % names.length);
    choose(next);
    tabs[names.indexOf(current)].focus();
  });
  return { element, show, get shown() { return current; } };

  function choose(name) {
    if (name === current || !allowed(name)) return;
    show(name);
    turn(name);
  }

  function show(name) {
    current = names.includes(name) ? name : names[0];
    names.forEach((each, index) => {
      const on = each === current;
      tabs[index].setAttribute("aria-selected", on);
      tabs[index].tabIndex = on ? 0 : -1;
      panels[index].hidden = !on;
    });
  }
}
