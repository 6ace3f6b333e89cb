/** Which settings of jobs differ. */

const IGNORED = ["name", "tags"]; // which say what somebody called it

/** `[{path, values}]`, paths as JSON pointers, a value for each job; what is alike is left out. */
export function differing(jobs) {
  const flat = jobs.map((job) => flattened(job.spec));
  const paths = [...new Set(flat.flatMap((each) => [...each.keys()]))];
  return paths
    .map((path) => ({ path, values: flat.map((each) => each.get(path) ?? null) }))
    .filter(({ values }) => new Set(values.map((each) => JSON.stringify(each))).size > 1);
}

function flattened(spec) {
  const found = new Map();
  const walk = (value, path) => {
    if (value === null || typeof value !== "object" || Array.isArray(value)) found.set(path, value);
    else for (const [key, each] of Object.entries(value)) walk(each, `${path}/${key}`);
  };
  const known = Object.entries(spec).filter(([key]) => !IGNORED.includes(key));
  for (const [key, value] of known) walk(value, `/${key}`);
  return found;
}
