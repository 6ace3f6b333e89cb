/** What can be asked for, as schemas: the API's own, with the catalogue in place of bare names. */

import { get } from "../api.js";
import { faultsOf } from "./check.js";
import { at, below, isObject, within } from "./pointers.js";
import { dereferenced, shapeOf } from "./schema.js";

const COMPONENTS = { model: "models", data: "datasets", optimizer: "optimizers" };
const FOUND = ["lr", "base_lr", "max_lr", "step_size", "t_0", "cycles"]; // a recipe finds these
const VARIABLE = ["number", "integer", "boolean", "array"];
const MAIN = {
  range_test: [
    "name", "model", "data", "optimizer", "batch_size", "repeats", "evaluate", "range",
  ],
  training: [
    "name", "model", "data", "optimizer", "batch_size", "length", "evaluate", "schedule",
  ],
  sweep: ["name", "template", "space", "sampler", "objective", "budget"],
  recipe: ["name", "template", "find", "schedules", "seeds", "objective", "budget"],
};
export const KINDS = {
  range_test: "Range test", training: "Training", sweep: "Sweep", recipe: "Recipe",
};

/** `{range_test, training, sweep, recipe}`, each the schema of its request. */
export async function loadKinds() {
  const names = Object.values(COMPONENTS);
  const [contract, policies, ...components] = await Promise.all(
    ["openapi.json", "v1/schedules", ...names.map((name) => `v1/${name}`)].map(get));
  const seen = new Map();
  const asked = (path) => {
    const { schema } = contract.paths[path].post.requestBody.content["application/json"];
    const { oneOf } = dereferenced(schema, contract, seen);
    return Object.fromEntries(oneOf.map((each) => [each.properties.kind.const, each]));
  };
  const { range_test: ramp, training } = asked("/v1/jobs");
  const { sweep, recipe } = asked("/v1/sweeps");
  const named = Object.fromEntries(Object.keys(COMPONENTS).map((field, index) =>
    [field, { oneOf: components[index].data.map(componentOf), ...BY_NAME }]));
  const schedule = { oneOf: policies.data.map(policyOf), ...BY_POLICY };
  const jobs = {
    range_test: changed(ramp, named, MAIN.range_test),
    training: changed(training, { ...named, schedule }, MAIN.training),
  };
  const many = { sweep: sweepOf(sweep, jobs), recipe: recipeOf(recipe, jobs.training, schedule) };
  return { ...jobs, ...many };
}

const BY_POLICY = { discriminator: { propertyName: "policy" } };
const BY_NAME = { discriminator: { propertyName: "name" } };

function changed(schema, properties, main) {
  return { ...schema, properties: { ...schema.properties, ...properties }, main };
}

function componentOf({ name, description, parameters }) {
  const params = { ...dereferenced(parameters, parameters), inline: true };
  const properties = { name: { const: name }, params };
  return {
    type: "object", label: name, description, properties, required: ["name"],
    additionalProperties: false,
  };
}

function policyOf({ title, description, formula, source, parameters }) {
  return { ...dereferenced(parameters, parameters), label: title, description, formula, source };
}

function sweepOf(schema, jobs) {
  const template = {
    ...oneJob(Object.values(jobs)), label: "What each job is",
  };
  const space = {
    ...schema.properties.space, label: "What differs between the jobs", item: "field",
    names: (form) => variable(shapeOf(template), form.value("/template")),
  };
  const [[pattern, dimension]] = Object.entries(space.patternProperties);
  const ways = shapeOf(dimension).options.map(wayOf);
  ways.sort((one, other) => (other.type === "array") - (one.type === "array"));
  space.patternProperties = { [pattern]: { oneOf: ways } };
  return changed(schema, { template, space }, MAIN.sweep);
}

/** One way to give the values of a field: what is rare is behind a fold. */
function wayOf(schema) {
  if (schema.type === "array") return { ...schema, label: "Values" };
  const main = Object.keys(schema.properties).filter((name) => name !== "when");
  const label = schema.properties.values ? "Values, under a condition" : undefined;
  return { ...schema, main, label };
}

function oneJob(options) {
  const labelled = options.map((each) => ({
    ...each, label: KINDS[each.properties.kind.const], main: withoutName(each),
  }));
  return { oneOf: labelled, discriminator: { propertyName: "kind" } };
}

const withoutName = ({ main }) => main.filter((name) => name !== "name");

function recipeOf(schema, training, schedule) {
  const { schedule: _, ...properties } = training.properties;
  const required = training.required.filter((name) => !["kind", "schedule"].includes(name));
  const main = withoutName(training).filter((name) => name !== "schedule");
  const { description } = schema.properties.template;
  const template = {
    ...training, properties, required, main, description, label: "What is trained",
  };
  const open = (each) => ({
    ...each, required: (each.required ?? []).filter((name) => !FOUND.includes(name)),
  });
  const items = { ...schedule, oneOf: schedule.oneOf.map(open) };
  const schedules = { ...schema.properties.schedules, items, item: "schedule" };
  const find = { ...schema.properties.find, label: "How the rates are found" };
  return changed(schema, { template, find, schedules }, MAIN.recipe);
}

/** `[pointer, label]` of the fields of a job that may differ: numbers, choices, names. */
function variable({ options, by }, job) {
  const found = [];
  const option = options.find((each) => each.properties[by].const === job?.[by]);
  if (option) walk(option, job, "");
  return found.map((pointer) => [pointer, pointer]);

  function walk(schema, value, pointer) {
    for (const [name, each] of Object.entries(schema.properties)) {
      const shape = shapeOf(each);
      const place = below(pointer, name);
      const types = shape.options.map(({ type }) => type);
      const inside = isObject(value) ? value[name] : undefined;
      if (shape.by) {
        found.push(below(place, shape.by));
        const branch = shape.options.find((one) =>
          one.properties[shape.by].const === inside?.[shape.by]);
        if (branch) walk(branch, inside, place);
      } else if ("const" in each) continue;
      else if (types.some((type) => VARIABLE.includes(type)) || shape.options[0].enum)
        found.push(place);
      else if (shape.options.length === 1 && shape.options[0].properties)
        if (!shape.nullable || isObject(inside)) walk(shape.options[0], inside, place);
    }
  }
}

/** What is wrong with a request, as far as schemas tell; what a sweep varies may be left out. */
export function wrongWith(spec, schema) {
  const found = faultsOf(spec, schema);
  if (!isObject(spec.space)) return found;
  const varied = Object.keys(spec.space).map((each) => `/template${each}`);
  const open = ({ pointer }) =>
    varied.some((each) => within(pointer, each)) && at(spec, pointer) === undefined;
  return found.filter((each) => !open(each));
}
