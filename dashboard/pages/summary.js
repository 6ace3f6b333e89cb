/** What has to be put right before a request can be submitted, each leading to its field. */

import { el } from "../dom.js";

export function createSummary(reveal) {
  const heading = el("h2", {});
  const list = el("ul");
  const element = el("div", { class: "summary", role: "alert", hidden: "" }, heading, list);
  let told = "";
  return { element, show };

  /** `labelOf(pointer)` says which field one is about. */
  function show(faults, labelOf) {
    const lines = faults.map(({ pointer, detail }) => [pointer, labelOf(pointer), detail]);
    const next = JSON.stringify(lines);
    if (next === told) return; // what is unchanged is not read out again
    told = next;
    element.hidden = !faults.length;
    const many = faults.length === 1 ? "one field" : `${faults.length} fields`;
    heading.textContent = `Not ready to submit: ${many} to put right`;
    list.replaceChildren(...lines.map(([pointer, label, detail]) => {
      const leads = { type: "button", class: "lead", onclick: () => reveal(pointer) };
      return el("li", {}, el("button", leads, label || "The request"), ` ${detail}`);
    }));
  }
}
