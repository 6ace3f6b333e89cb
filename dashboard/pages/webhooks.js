/** The webhooks: where word of jobs and sweeps is sent, whether it arrives, and a new one. */

import { href } from "../address.js";
import { ApiError, get, send } from "../api.js";
import { el, setText } from "../dom.js";

const HEADS = ["State", "Url", "Told of", ""];
const ENDS = ["job.failed", "job.cancelled", "job.succeeded"];
const CHOICES = [
  ["", "everything"],
  [ENDS.join(), "jobs that end"],
  ["job.failed", "jobs that fail"],
  ["sweep.succeeded,sweep.failed,sweep.cancelled", "sweeps that end"],
];

export function createWebhooksPage(context) {
  const rows = new Map();
  const list = el("tbody");
  const head = el("tr", {}, ...HEADS.map((name) => el("th", { scope: "col" }, name)));
  head.lastChild.append(el("span", { class: "hidden" }, "Actions"));
  const caption = el("caption", { class: "hidden" }, "Webhooks");
  const table = el("table", { class: "list", hidden: "" }, caption, el("thead", {}, head), list);
  const none = el("p", { class: "empty", hidden: "" },
    "No webhooks yet. One sends a signed message to a url of yours whenever a job or a sweep",
    " starts or ends.");
  const url = el("input", {
    type: "url", required: "", placeholder: "https://hooks.example/stepsize", size: 40,
  });
  const events = el("select", {}, ...CHOICES.map(([value, name]) => el("option", { value }, name)));
  const fault = el("p", { class: "problem", role: "alert" });
  const made = el("p", { role: "status" });
  const form = el("form", { class: "controls" },
    el("label", {}, "Send to ", url), el("label", {}, "word of ", events),
    el("button", { class: "primary" }, "Add"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    add();
  });
  const element = el("section", {}, el("h1", {}, "Webhooks"), form, fault, made, table, none);
  return { element, title: "Webhooks", refresh };

  async function refresh() {
    const { data } = await get("v1/webhooks");
    table.hidden = data.length === 0;
    none.hidden = data.length > 0;
    const ids = new Set(data.map(({ id }) => id));
    for (const [id, row] of rows) if (!ids.has(id)) rows.delete(id), row.element.remove();
    data.forEach((webhook, place) => {
      if (!rows.has(webhook.id)) rows.set(webhook.id, createRow(webhook.id, tried));
      const row = rows.get(webhook.id);
      row.show(webhook);
      if (list.children[place] !== row.element)
        list.insertBefore(row.element, list.children[place] ?? null);
    });
    return false;
  }

  async function add() {
    const chosen = events.value ? events.value.split(",") : [];
    const body = { url: url.value, events: chosen };
    const webhook = await tried(() => send("v1/webhooks", "POST", body));
    if (!webhook) return;
    made.replaceChildren("Its messages are signed with ", el("code", {}, webhook.secret),
      ": keep it now, it is not shown again.");
    form.reset();
  }

  /** What an action gives; where it is refused, says why. */
  async function tried(action) {
    setText(fault, "");
    setText(made, "");
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setText(fault, [error.message, ...error.errors.map(({ detail }) => detail)].join(": "));
      return null;
    } finally {
      context.wake();
    }
  }
}

function createRow(id, tried) {
  const path = `v1/webhooks/${id}`;
  const state = el("span");
  const link = el("a", { href: href("webhooks", id) });
  const told = el("td");
  const button = (name, action) => el("button", { type: "button", onclick: action }, name);
  const test = button("Test", () => tried(async () => {
    await send(`${path}/test`, "POST");
    location.hash = link.hash; // its log, where the message comes first
  }));
  const toggle = button("Disable", () =>
    tried(() => send(path, "PATCH", { enabled: toggle.textContent === "Enable" })));
  const remove = button("Delete", () => {
    if (confirm("Delete this webhook, its log, and what is still to be sent?"))
      tried(() => send(path, "DELETE"));
  });
  const actions = el("div", { class: "actions" }, test, toggle, remove);
  const cells = [
    el("td", {}, state), el("th", { scope: "row" }, link), told, el("td", {}, actions),
  ];
  return { element: el("tr", {}, ...cells), show };

  function show(webhook) {
    setText(state, standing(webhook));
    const well = webhook.failing_since ? "failed" : "succeeded";
    state.className = `state ${webhook.enabled ? well : "cancelled"}`;
    setText(link, webhook.url);
    setText(told, wanted(webhook));
    setText(toggle, webhook.enabled ? "Disable" : "Enable");
    test.disabled = !webhook.enabled;
  }
}

/** How a webhook is, in words. */
export function standing({ enabled, disabled_why: why, failing_since: since }) {
  if (!enabled) return why ? `disabled: ${why}` : "disabled";
  return since ? `failing since ${new Date(since).toLocaleString()}` : "enabled";
}

/** What a webhook is told of, in words. */
export function wanted({ events, tags, sweep }) {
  const words = Object.entries(tags).map((pair) => pair.join(":"));
  const told = events.length ? events : ["everything"];
  return [...told, ...words, ...(sweep ? [sweep] : [])].join(", ");
}
