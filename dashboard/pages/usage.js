/** What owners use and may have: the caller's own, rules of retention, and for admins everybody. */

import { get } from "../api.js";
import { el, setText } from "../dom.js";
import { bytes, count, duration, percent, secondsBetween, short } from "../numbers.js";

const NEARLY = 0.9; // of a limit
const REACHED = "A limit is reached: nothing more can be submitted before something is deleted," +
  " by hand or by a rule.";

/** What there is, what there may be, and how it is said; at those that `end`, one is refused. */
const MEASURES = [
  { name: "Running", unit: "jobs", has: "running", most: "max_running", say: count },
  {
    name: "Recorded", unit: "iterations", has: "points", most: "max_points", say: count, end: true,
  },
  {
    name: "Checkpoints", unit: "", has: "checkpoint_bytes", most: "max_checkpoint_bytes",
    say: bytes, end: true,
  },
];
const ALONE = { Running: "running", Checkpoints: "in checkpoints" }; // rows of phones have no heads
const HEADS = ["Owner", "Share", "Waiting", ...MEASURES.map(({ name }) => name)];

export function createUsagePage() {
  const whose = el("p", { class: "facts" });
  const mine = MEASURES.map((each) => createMeter(each, "dd"));
  const waiting = el("dd");
  const share = el("dd");
  const own = el("dl", { class: "meters" },
    ...mine.map(({ measure, element }) => el("div", {}, el("dt", {}, measure.name), element)),
    el("div", {}, el("dt", {}, "Waiting or paused"), waiting),
    el("div", {}, el("dt", {}, "Share of the workers"), share));
  const full = el("p", { class: "problem", role: "status" });
  const rules = el("ul", { class: "rules" });
  const none = el("p", { class: "empty" }, "None: everything is kept until its job is deleted.");
  const everybody = createEverybody();
  const element = el("section", {}, el("h1", {}, "Usage"), whose, own, full,
    el("h2", {}, "Rules of retention"), none, rules, everybody.element);
  return { element, title: "Usage", refresh };

  async function refresh() {
    const [usage, { data }, { scopes }] = await Promise.all(
      ["v1/usage", "v1/retention", "v1/session"].map((path) => get(path)));
    const all = scopes.includes("admin") ? (await get("v1/owners")).data : null;
    setText(whose, `Owner: ${usage.owner}. ${counted(usage)}`);
    for (const meter of mine) meter.show(usage);
    setText(waiting, `${count(usage.waiting)} ${unitOf(usage.waiting, "jobs")}`);
    setText(share, all ? shareOf(usage, all) : `${short(usage.share)}, against those of others`);
    setText(full, MEASURES.some((each) => each.end && partOf(usage, each) >= 1) ? REACHED : "");
    tell(data);
    everybody.show(all);
    return false;
  }

  function tell(found) {
    none.hidden = found.length > 0;
    const [known, next] = [[...rules.children].map((each) => each.textContent), found.map(ruleOf)];
    if (known.join("\n") !== next.join("\n"))
      rules.replaceChildren(...next.map((each) => el("li", {}, each)));
  }
}

function createEverybody() {
  const rows = new Map();
  const list = el("tbody");
  const head = el("tr", {}, ...HEADS.map((name) => el("th", { scope: "col" }, name)));
  const caption = el("caption", { class: "hidden" }, "Owners");
  const table = el("table", { class: "list stack" }, caption, el("thead", {}, head), list);
  const element = el("div", { hidden: "" }, el("h2", {}, "Every owner"), table);
  return { element, show };

  function show(owners) {
    element.hidden = !owners?.length;
    const names = new Set((owners ?? []).map(({ owner }) => owner));
    for (const [name, row] of rows) if (!names.has(name)) rows.delete(name), row.element.remove();
    (owners ?? []).forEach((each, place) => {
      if (!rows.has(each.owner)) rows.set(each.owner, createRow(each.owner));
      const row = rows.get(each.owner);
      row.show(each, owners);
      if (list.children[place] !== row.element)
        list.insertBefore(row.element, list.children[place] ?? null);
    });
  }
}

function createRow(owner) {
  const [share, waiting] = [el("td"), el("td")];
  const meters = MEASURES.map((each) => createMeter(each, "td"));
  const cells = [share, waiting, ...meters.map(({ element }) => element)];
  return { element: el("tr", {}, el("th", { scope: "row" }, owner), ...cells), show };

  function show(usage, owners) {
    setText(share, shareOf(usage, owners));
    setText(waiting, `${count(usage.waiting)} waiting`);
    for (const meter of meters) meter.show(usage);
  }
}

/** A number, against its limit with a bar. */
function createMeter(measure, tag) {
  const words = el("span");
  const bar = el("progress", { max: 1, "aria-hidden": "true" }); // the words say it
  const element = el(tag, { class: "meter" }, words, bar);
  return { element, measure, show };

  function show(usage) {
    const { name, has, most, say } = measure;
    const unit = (tag === "td" && ALONE[name]) || unitOf(usage[most] ?? usage[has], measure.unit);
    const part = partOf(usage, measure);
    const limit = usage[most] === null ? "" : ` of ${say(usage[most])}`;
    const free = limit || tag === "td" ? "" : ", no limit";
    setText(words, `${say(usage[has])}${limit} ${unit}`.trim() + free);
    bar.hidden = part === null;
    bar.value = Math.min(1, part ?? 0);
    bar.className = part >= 1 && measure.end ? "full" : part >= NEARLY ? "nearly" : "";
  }
}

const unitOf = (number, units) => (number === 1 ? units.slice(0, -1) : units);

/** How much of its limit is used; null where there is none. */
function partOf(usage, { has, most }) {
  if (usage[most] === null) return null;
  return usage[most] === 0 ? 1 : usage[has] / usage[most];
}

/** Of the workers, where everybody has jobs that wait. */
function shareOf({ owner, share }, owners) {
  const others = owners.filter((each) => each.owner !== owner); // who has nothing is not listed
  const whole = others.reduce((sum, each) => sum + each.share, share);
  return `${short(share)} (${percent(Number((share / whole).toPrecision(2)))})`;
}

function counted({ counted_at: at }) {
  if (at === null) return "What it has recorded has not been counted yet.";
  const seconds = Math.max(0, Math.floor(secondsBetween(at, null)));
  return `What it has recorded was counted ${duration(seconds)} ago.`;
}

function ruleOf({ what, after_days: days, tag, value }) {
  const tagged = tag === null ? "" : ` tagged ${tag}${value === null ? "" : `:${value}`}`;
  const kept = what === "series" ? "What was recorded" : "Checkpoints";
  return `${kept} of jobs${tagged}: deleted ${days} day${days === 1 ? "" : "s"} after their end.`;
}
