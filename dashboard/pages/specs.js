/** Requests to begin with: examples, what follows from another job, one kind made of another. */

const COMMON = {
  model: { name: "mlp", params: { hidden: [64] } },
  data: { name: "digits" },
  optimizer: { name: "sgd", params: { momentum: 0.9 } },
  batch_size: 32,
};

const STARTERS = {
  range_test: {
    kind: "range_test", ...COMMON, range: { start: 1e-5, end: 10, iterations: 300 }, repeats: 3,
  },
  training: {
    kind: "training",
    ...COMMON,
    schedule: { policy: "triangular2", base_lr: 0.03, max_lr: 0.14, step_size: { epochs: 4 } },
    length: { cycles: 3 },
    evaluate: { every: { epochs: 1 } },
  },
};

const OBJECTIVE = { metric: "val_accuracy", direction: "maximize" };

const SAME = [
  "model", "data", "batch_size", "optimizer", "lr_groups", "seed", "precision", "queue", "tags",
];

/**
 * A request of a kind, with what `spec`, which may be of another kind, says of its job; all else is
 * as it was `before`, when there was one of this kind.
 */
export function starterOf(kind, spec = {}, before = undefined) {
  const { name, template, ...rest } = structuredClone(spec);
  const job = template ?? rest;
  const shared = plain(Object.fromEntries(SAME.map((key) => [key, job[key]])));
  if (kind in STARTERS) {
    const own = job.kind === kind ? job : { ...(before ?? STARTERS[kind]), ...shared };
    return plain({ ...structuredClone(own), kind, name });
  }
  if (kind === "recipe") {
    const { kind: _, schedule, ...training } = starterOf("training", job);
    if (training.length?.cycles) training.length = { epochs: 20 }; // not all schedules have cycles
    return plain({ objective: OBJECTIVE, ...before, kind, name, template: training });
  }
  const each = starterOf("training", job);
  const rate = ["max_lr", "lr"].find((one) => each.schedule?.[one] !== undefined);
  const rates = () => ({ [`/schedule/${rate}`]: around(each.schedule, rate) });
  const space = rate ? rates() : { "/batch_size": [32, 64, 128] };
  const usual = { space, sampler: { name: "grid" }, objective: OBJECTIVE };
  return plain({ ...usual, ...before, kind, name, template: each });
}

/** Rates around that of a schedule, none below its lowest. */
function around({ base_lr: base, ...schedule }, rate) {
  const middle = typeof schedule[rate] === "number" ? schedule[rate] : 0.1;
  const low = typeof base === "number" ? Math.max(base, middle / 4) : middle / 4;
  return { low: tidy(low), high: tidy(4 * middle), log: true, points: 5 };
}

const tidy = (number) => Number(number.toPrecision(2));

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

/** Without what is null or empty, which are the defaults; with `kind`, name and job first. */
function plain({ kind, name, from, template, ...rest }) {
  const empty = (value) => value === null || value === undefined ||
    (typeof value === "object" && Object.keys(value).length === 0);
  const entries = Object.entries({ kind, name, from, template, ...rest });
  const kept = entries.filter(([, value]) => !empty(value));
  return Object.fromEntries(kept);
}

/** The same request in other words. */
export function commands(spec, signedIn) {
  const base = new URL(".", location.href).href.replace(/\/$/, "");
  const body = JSON.stringify(spec, null, 2);
  const bearer = signedIn ? ` -H "Authorization: Bearer $STEPSIZE_API_KEY"` : "";
  const quoted = body.replaceAll("'", "'\\''");
  const many = spec.template !== undefined;
  const [route, call, verb, file] = many
    ? ["sweeps", "sweeps.submit", "sweep", "sweep.json"] : ["jobs", "submit", "submit", "job.json"];
  return {
    curl: `curl ${base}/v1/${route} -H 'Content-Type: application/json'${bearer} -d '${quoted}'`,
    Python: `import json\nfrom stepsize import Client\n\nspec = json.loads(r'''${body}''')\n` +
      `queued = Client("${base}").${call}(spec)\nprint(queued.id)`,
    "command line": `cat > ${file} <<'END'\n${body}\nEND\n` +
      `STEPSIZE_URL=${base} stepsize ${verb} ${file}`,
  };
}
