/** Requests to begin with: examples, and what follows from another job. */

const COMMON = {
  model: { name: "mlp", params: { hidden: [64] } },
  data: { name: "digits" },
  batch_size: 32,
  optimizer: { name: "sgd", params: { momentum: 0.9 } },
};

export const STARTERS = {
  "a range test": {
    kind: "range_test",
    ...COMMON,
    range: { start: 1e-5, end: 10, iterations: 300 },
    repeats: 3,
  },
  "a training": {
    kind: "training",
    ...COMMON,
    schedule: { policy: "triangular2", base_lr: 0.03, max_lr: 0.14, step_size: { epochs: 4 } },
    length: { cycles: 3 },
    evaluate: { every: { epochs: 1 } },
  },
  both: { kind: "training", ...COMMON, schedule: { policy: "auto" }, length: { epochs: 20 } },
};

const SAME = [
  "model", "data", "batch_size", "optimizer", "lr_groups", "seed", "precision", "queue", "tags",
];

/** A training up to the rate that a range test suggests. */
export function trainedWith({ id, name, spec }) {
  return plain({
    kind: "training",
    name: name && `${name}, trained`,
    ...Object.fromEntries(SAME.map((key) => [key, spec[key]])),
    schedule: { policy: "one_cycle", max_lr: { range_test: id } },
    length: { epochs: 20 },
    evaluate: { every: { epochs: 1 } },
  });
}

/** A training from the last checkpoint of another, half as long again. */
export function continued({ id, name, spec, progress }) {
  const grown = Object.entries(spec.length).map(([unit, value]) => [unit, Math.ceil(1.5 * value)]);
  const length = progress.iterations ? Object.fromEntries(grown) : spec.length;
  return plain({ ...spec, name: name && `${name}, continued`, from: { job: id }, length });
}

/** Without what is null or empty, which are the defaults; with `kind` first. */
function plain({ kind, name, from, ...rest }) {
  const empty = (value) => value === null || value === undefined ||
    (typeof value === "object" && Object.keys(value).length === 0);
  const kept = Object.entries({ kind, name, from, ...rest }).filter(([, value]) => !empty(value));
  return Object.fromEntries(kept);
}

/** The same request in other words. */
export function commands(spec, signedIn) {
  const base = new URL(".", location.href).href.replace(/\/$/, "");
  const body = JSON.stringify(spec, null, 2);
  const bearer = signedIn ? ` -H "Authorization: Bearer $STEPSIZE_API_KEY"` : "";
  const quoted = body.replaceAll("'", "'\\''");
  return {
    curl: `curl ${base}/v1/jobs -H 'Content-Type: application/json'${bearer} -d '${quoted}'`,
    Python: `import json\nfrom stepsize import Client\n\nspec = json.loads(r'''${body}''')\n` +
      `job = Client("${base}").submit(spec)\nprint(job.id)`,
    "command line": `cat > job.json <<'END'\n${body}\nEND\n` +
      `STEPSIZE_URL=${base} stepsize submit job.json`,
  };
}
