/** What a service without jobs teaches: the lines that submit a first one, to this very service. */

import { el } from "../dom.js";

const SPEC = {
  kind: "range_test",
  model: { name: "mlp", params: { hidden: [64] } },
  data: { name: "digits" },
  batch_size: 32,
  optimizer: { name: "sgd", params: { momentum: 0.9 } },
  range: { start: 1e-5, end: 10 },
};

/** `signedIn` says whether requests need a key. */
export function createWelcome(signedIn) {
  const base = new URL(".", location.href).href.replace(/\/$/, "");
  const fields = Object.entries(SPEC).map(([name, value]) => `"${name}": ${JSON.stringify(value)}`);
  const body = `{\n  ${fields.join(",\n  ")}\n}`;
  const bearer = signedIn ? ` -H "Authorization: Bearer $STEPSIZE_API_KEY"` : "";
  const headers = `-H 'Content-Type: application/json'${bearer}`;
  const cli = [
    `STEPSIZE_URL=${base} stepsize range-test --model mlp --model-param 'hidden=[64]'`,
    "--data digits --optimizer sgd --optimizer-param momentum=0.9 --batch-size 32 --start 1e-5",
  ].join(" \\\n  ");
  const curl = `curl ${base}/v1/jobs ${headers} -d '${body}'`;
  return el("section", { class: "welcome" },
    el("h2", {}, "No jobs yet: find a learning rate"),
    el("p", {}, "A range test trains a model while the learning rate climbs, and says between " +
      "which rates to cycle. Submit one, about a second of work, from a terminal:"),
    el("pre", { id: "cli", tabindex: 0 }, cli),
    el("p", {}, "or, without the command installed:"),
    el("pre", { id: "curl", tabindex: 0 }, curl),
    el("p", {}, "It appears here at once. Everything else a job can be is in the ",
      el("a", { href: "docs" }, "API documentation"), "."));
}
