/** The log of a webhook: every message, what came of it, and a button that sends it again. */

import { href } from "../address.js";
import { ApiError, get, send } from "../api.js";
import { el, setText } from "../dom.js";
import { standing, wanted } from "./webhooks.js";

const LIMIT = 100;
const HEADS = ["State", "Type", "About", "Tries", "Created", "Last answer", ""];
const NARROW = ["Tries", "Created"];
const LOOKS = { pending: "queued", delivered: "succeeded", failed: "failed" };

export function createDeliveriesPage(id, context) {
  const rows = new Map();
  const path = `v1/webhooks/${id}`;
  const body = el("tbody");
  const head = el("tr", {}, ...HEADS.map((name) =>
    el("th", { scope: "col", class: NARROW.includes(name) ? "wide" : "" }, name)));
  head.lastChild.append(el("span", { class: "hidden" }, "Actions"));
  const caption = el("caption", { class: "hidden" }, "Messages");
  const table = el("table", { class: "list", hidden: "" }, caption, el("thead", {}, head), body);
  const none = el("p", { class: "empty", hidden: "" }, "Nothing was sent in the last 30 days.");
  const about = el("p", { class: "facts" });
  const fault = el("p", { class: "problem", role: "alert" });
  const test = el("button", { type: "button", onclick: () => act(`${path}/test`) }, "Test");
  const back = el("a", { class: "button", href: href("webhooks") }, "All webhooks");
  const title = el("h1", {}, "Webhook");
  const element = el("section", {}, title, about, el("div", { class: "actions" }, test, back),
    fault, table, none);
  return { element, title: "Webhook", refresh };

  async function refresh() {
    const [webhook, { data }] = await Promise.all([
      get(path), get(`${path}/deliveries?limit=${LIMIT}`),
    ]);
    setText(title, webhook.url);
    setText(about, `${standing(webhook)}; told of ${wanted(webhook)}`);
    test.disabled = !webhook.enabled;
    table.hidden = data.length === 0;
    none.hidden = data.length > 0;
    const ids = new Set(data.map((each) => each.id));
    for (const [key, row] of rows) if (!ids.has(key)) rows.delete(key), row.element.remove();
    data.forEach((message, place) => {
      if (!rows.has(message.id)) rows.set(message.id, createRow(message, again));
      const row = rows.get(message.id);
      row.show(message);
      if (body.children[place] !== row.element)
        body.insertBefore(row.element, body.children[place] ?? null);
    });
    return data.some(({ state }) => state === "pending");
  }

  function again(message) {
    act(`${path}/deliveries/${message}/retry`);
  }

  async function act(what) {
    setText(fault, "");
    try {
      await send(what, "POST");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setText(fault, error.message);
    }
    context.wake();
  }
}

function createRow({ id, type, subject, created_at: created, body }, again) {
  const state = el("span");
  const tries = el("td", { class: "wide" });
  const answer = el("td");
  const retry = el("button", { type: "button", onclick: () => again(id) }, "Send again");
  const place = type.startsWith("job.") ? "jobs" : "sweeps";
  const link = type === "ping" ? "" : el("a", { href: href(place, subject) },
    body.data[place.slice(0, -1)]?.name || subject);
  const cells = [
    el("td", {}, state), el("th", { scope: "row" }, type), el("td", {}, link), tries,
    el("td", { class: "wide" }, new Date(created).toLocaleString()), answer, el("td", {}, retry),
  ];
  return { element: el("tr", { title: id }, ...cells), show };

  function show(message) {
    setText(state, message.state);
    state.className = `state ${LOOKS[message.state]}`;
    setText(tries, String(message.attempts));
    const next = message.next_at && message.error
      ? `; again ${new Date(message.next_at).toLocaleString()}` : "";
    setText(answer, message.error ? `${message.error}${next}` : String(message.status ?? ""));
  }
}
