/** A new job or sweep: its form, the same as JSON, what it would do, and what is wrong with it. */

import { href } from "../address.js";
import { ApiError, get, send } from "../api.js";
import { titleOf } from "../describe.js";
import { el } from "../dom.js";
import { draftOf, dropDraft, dropDrafts, keepDraft } from "../drafts.js";
import { createForm } from "../forms/form.js";
import { KINDS, loadKinds, wrongWith } from "../forms/kinds.js";
import { at, isObject, parentOf } from "../forms/pointers.js";
import { trimmed } from "../forms/schema.js";
import { createPreview } from "./preview.js";
import { createCommands, createText } from "./request.js";
import { continued, starterOf, trainedWith } from "./specs.js";
import { createSuggestions } from "./suggestions.js";
import { createSummary } from "./summary.js";
import { createTabs } from "./tabs.js";

export function createNewPage(context) {
  const origin = el("p", { class: "facts" });
  const kinds = el("fieldset", { class: "kinds" }, el("legend", { class: "hidden" }, "Kind"),
    ...Object.entries(KINDS).map(([value, words]) => el("label", {},
      el("input", { type: "radio", name: "kind", value, onchange: () => turnTo(value) }), words)));
  const suggestions = createSuggestions();
  const form = createForm({ changed, listFor: suggestions.listFor, noteOf });
  const text = createText(typed);
  const tabs = createTabs({ form: ["Form", form.element], json: ["JSON", text.element] }, shown,
    (view) => context.turn({ view: view === "form" ? null : view }));
  const summary = createSummary(revealed);
  const submit = el("button", { class: "primary" }, "Submit");
  const again = el("button", { type: "button", onclick: startOver }, "Start over");
  const edited = el("span", { class: "control", hidden: "" }, again,
    el("small", {}, "This tab keeps what you have changed, until you submit it."));
  const preview = createPreview(refusals);
  const commands = createCommands();
  const fields = el("form", { class: "new", novalidate: "" },
    el("div", {}, kinds, summary.element, tabs.element),
    el("div", { class: "beside" }, preview.element,
      el("div", { class: "controls" }, submit, edited), commands.element));
  const element = el("section", {}, el("h1", {}, "New job"), origin, fields,
    suggestions.element);

  let schemas = null; // by kind
  let from = null; // what it was made from
  let perEpoch = null; // iterations, where another job has told
  let spec = { kind: "range_test" };
  let refused = []; // what the service said, with what it said it of
  let attempted = false;
  let starter = ""; // what the request was before anybody changed it, as JSON
  const page = { element, title: "New job", refresh, turned, leave: preview.leave };

  fields.addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  fields.hidden = true;
  return page;

  async function refresh() {
    schemas ??= await loadKinds();
    const { view } = context;
    const wanted = view.get("from") ?? view.get("like") ?? "";
    if (from === wanted) return false;
    await suggestions.refresh();
    await begin(wanted, view);
    fields.hidden = false;
    return false;
  }

  async function begin(wanted, view) {
    const asked = view.get("kind");
    const job = wanted ? await found(wanted) : null;
    from = wanted;
    if (!job) {
      if (wanted) origin.replaceChildren(`${wanted} is not there any more: this is an example.`);
      return fill(starterOf(asked in KINDS ? asked : wanted ? "training" : "range_test"), true);
    }
    perEpoch = job.resolved?.iterations_per_epoch ?? null;
    const again = view.has("like");
    const ramp = job.kind === "range_test";
    const words = ramp ? "With what was found by " : "Going on from ";
    const place = job.id.startsWith("swp_") ? "sweeps" : "jobs";
    const title = place === "jobs" ? titleOf(job) : job.spec.name ?? job.id;
    const link = el("a", { href: href(place, job.id) }, title);
    origin.replaceChildren(again ? "As " : words, link, ".");
    const next = ramp ? trainedWith : continued;
    const made = structuredClone(again ? job.spec : next(job));
    return fill(trimmed(made, schemas[kindOf(made)]), true);
  }

  /** Begins with a request; with `goOn`, as it was left where somebody was at work on it. */
  function fill(next, goOn = false) {
    spec = next;
    starter = JSON.stringify(spec);
    if (goOn) spec = draftOf(nameOf()) ?? spec;
    attempted = false;
    refused = [];
    show();
  }

  /** Both views of the request as it now is. */
  function show() {
    const kind = kindOf(spec);
    for (const box of kinds.querySelectorAll("input")) box.checked = box.value === kind;
    text.fill(spec);
    form.show(schemas[kind], spec);
    tabs.show(context.view.get("view") ?? "form");
  }

  function turned() {
    if (!schemas || from === null) return;
    const { view } = context;
    const kind = view.get("kind");
    const other = kind in KINDS && kind !== kindOf(spec);
    if (other && !view.has("from") && !view.has("like")) become(kind);
    else tabs.show(view.get("view") ?? "form");
  }

  function turnTo(kind) {
    from = "";
    origin.replaceChildren();
    context.turn({ kind, from: null, like: null });
    if (kind !== kindOf(spec)) become(kind);
  }

  function become(kind) {
    keepDraft(kindOf(spec), spec);
    const next = starterOf(kind, spec, draftOf(kind) ?? undefined);
    fill(starterOf(kind));
    spec = next;
    show();
  }

  function startOver() {
    if (!confirm("Discard what you have changed here?")) return;
    dropDraft(nameOf());
    fill(JSON.parse(starter));
    kinds.querySelector(":checked").focus(); // the button is gone
  }

  /** What the request is kept as: one of each kind, one of each job that one was begun from. */
  function nameOf() {
    return from || kindOf(spec);
  }

  function keep() {
    edited.hidden = JSON.stringify(spec) === starter;
    if (edited.hidden) dropDraft(nameOf());
    else keepDraft(nameOf(), spec);
  }

  /** A view of the two is about to be shown; false where it cannot be. */
  function shown(view) {
    if (view === "form" && text.fault) return text.reveal("") ?? false;
    if (view === "form") show();
    else text.fill(spec);
    return true;
  }

  function noteOf(pointer) {
    const [, field] = /^\/template(\/.+)/.exec(pointer) ?? [];
    return field && isObject(spec.space) && field in spec.space ? "differs between the jobs" : "";
  }

  function changed() {
    refused = refused.filter(({ pointer, was }) => was === written(parentOf(pointer)));
    if (schemas) keep();
    checked();
  }

  function typed(next) {
    submit.disabled = next === null;
    if (!next) return;
    const other = next.kind in KINDS && next.kind !== kindOf(spec);
    spec = next;
    if (other && !from) context.turn({ kind: spec.kind });
    changed();
  }

  function written(pointer) {
    return JSON.stringify(at(spec, pointer));
  }

  function wrong() {
    const unreadable = tabs.shown === "form" ? form.unreadable : [];
    return form.ordered([...unreadable, ...wrongWith(spec, schemas[kindOf(spec)])]);
  }

  /** Says what is wrong, and draws what is right. */
  function checked() {
    if (!schemas) return;
    const known = told();
    commands.show(spec, context.session.signedIn);
    preview.show(spec, known, perEpoch);
  }

  function told() {
    const known = wrong();
    const shown = known.filter(({ pointer }) => attempted || form.isTouched(pointer));
    form.faults(once([...shown, ...refused]));
    const typing = tabs.shown === "form" && !attempted;
    summary.show(typing ? [] : once([...known, ...refused]), labelOf);
    return known;
  }

  function labelOf(pointer) {
    if (tabs.shown === "form") return form.labelOf(pointer);
    return `${pointer || "/"} (${text.lineOf(pointer)})`;
  }

  function revealed(pointer) {
    if (!pointer) return summary.focus(); // of the whole request
    if (tabs.shown === "form" && form.reveal(pointer)) return;
    if (tabs.shown === "form") text.fill(spec);
    tabs.show("json");
    text.reveal(pointer);
  }

  function refusals(errors, by) {
    refused = refused.filter((each) => each.by !== by);
    refused.push(...errors.map((each) => ({ ...each, by, was: written(parentOf(each.pointer)) })));
    told();
  }

  async function run() {
    attempted = true;
    refused = refused.filter(({ by }) => by !== "submit");
    const [first] = told();
    if (first) return revealed(first.pointer);
    submit.disabled = true;
    const many = isObject(spec.template);
    try {
      const made = await send(many ? "v1/sweeps" : "v1/jobs", "POST", spec);
      dropDrafts();
      location.hash = href(many ? "sweeps" : "jobs", made.id);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const { errors, message } = error;
      refusals(errors.length ? errors : [{ pointer: "", detail: message }], "submit");
      revealed(errors[0]?.pointer ?? "");
    } finally {
      submit.disabled = false;
    }
  }

  function kindOf(request) {
    if (Object.hasOwn(schemas, request.kind)) return request.kind;
    return isObject(request.template) ? "sweep" : "training";
  }
}

/** Previews and a submission may say the same. */
const once = (faults) =>
  [...new Map(faults.map((each) => [`${each.pointer} ${each.detail}`, each])).values()];

async function found(id) {
  try {
    return await get(`v1/${id.startsWith("swp_") ? "sweeps" : "jobs"}/${id}`);
  } catch (error) {
    if (error instanceof ApiError && [404, 422].includes(error.status)) return null;
    throw error;
  }
}
