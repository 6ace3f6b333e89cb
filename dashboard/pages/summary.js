/** What has to be put right before a request can be submitted, each leading to its field. */

import { el } from "../dom.js";

export function createSummary(reveal) {
  const heading = el("h2", {});
  const list = el("ul");
  const attributes = { class: "summary", role: "alert", tabindex: -1, hidden: "" };
  const element = el("div", attributes, heading, list);
  let told = "";
  return { element, show, focus: () => element.focus() };

  /** `labelOf(pointer)` says which field one is about. */
  function show(faults, labelOf) {
    const lines = faults.map(({ pointer, detail }) => [pointer, labelOf(pointer), detail]);
    const next = JSON.stringify(lines);
    if (next === told) return; // what is unchanged is not read out again
    told = next;
    element.hidden = !faults.length;
    const fields = faults.filter(({ pointer }) => pointer).length; // others are of all of it
    const many = fields === 1 ? "one field" : `${fields} fields`;
    heading.textContent = `Not ready to submit${fields ? `: ${many} to put right` : ""}`;
    list.replaceChildren(...lines.map(([pointer, label, detail]) => {
      if (!pointer) return el("li", {}, detail);
      const leads = { type: "button", class: "lead", onclick: () => reveal(pointer) };
      return el("li", {}, el("button", leads, label), ` ${detail}`);
    }));
  }
}
