/** Puts the dashboard together: the address says what is shown, one loop keeps it fresh. */

import { changed, href, parse } from "./address.js";
import { ApiError } from "./api.js";
import { setText } from "./dom.js";
import { createComparePage } from "./pages/compare.js";
import { createDeliveriesPage } from "./pages/deliveries.js";
import { createJobPage } from "./pages/job.js";
import { createJobsPage } from "./pages/jobs.js";
import { createLater } from "./pages/later.js";
import { createLostPage } from "./pages/lost.js";
import { createSweepPage } from "./pages/sweep.js";
import { createSweepsPage } from "./pages/sweeps.js";
import { createUsagePage } from "./pages/usage.js";
import { createWebhooksPage } from "./pages/webhooks.js";
import { createWorkersPage } from "./pages/workers.js";
import { createSession } from "./session.js";

const ACTIVE = 1000; // ms between refreshes while something moves,
const IDLE = 2000; // while nothing does,
const SLOW = 5000; // at most while the service takes its time,
const RARELY = 60_000; // and while nobody looks or the key is missing

const CREATE = {
  jobs: (id, context) => (id ? createJobPage(id, context) : createJobsPage(context)),
  compare: (_, context) => createComparePage(context),
  sweeps: (id, context) => (id ? createSweepPage(id, context) : createSweepsPage()),
  workers: () => createWorkersPage(),
  usage: () => createUsagePage(),
  new: (_, context) =>
    createLater("New job", async () => (await import("./pages/new.js")).createNewPage(context)),
  webhooks: (id, context) =>
    (id ? createDeliveriesPage(id, context) : createWebhooksPage(context)),
};

const part = (id) => document.getElementById(id);
const main = part("main");
const session = createSession(part("key"), part("who"), wake);
let at = { page: null, id: null, view: new URLSearchParams() };
let page = null;
let woken = false;
let resume = () => {};

/** What a page may ask of the frame around it. */
const context = {
  wake,
  session,
  get view() {
    return at.view;
  },
  /** Changes the view in the address; `push` makes it a step that Back takes back. */
  turn(changes, { push = false } = {}) {
    const address = href(at.page, at.id, changed(at.view, changes));
    if (address === location.hash) return;
    history[push ? "pushState" : "replaceState"](null, "", address);
    route();
  },
};

window.addEventListener("hashchange", route);
window.addEventListener("popstate", route);
window.addEventListener("online", wake);
window.addEventListener("offline", () => {
  page?.leave?.(); // what it waits for would not come
  wake();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) page?.leave?.(); // a browser has few connections, and nobody looks
  wake();
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey) return;
  const search = main.querySelector("input[type=search]");
  if (search) event.preventDefault();
  search?.focus();
});
part("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address belongs to the page
  main.focus();
});
route();
run();

function route() {
  const next = parse(location.hash);
  const same = page && next.page === at.page && next.id === at.id;
  at = next;
  if (!same) open();
  page.turned?.();
  wake();
}

function open() {
  page?.leave?.();
  const first = page === null;
  page = CREATE[at.page]?.(at.id, context) ?? createLostPage();
  main.replaceChildren(page.element);
  main.setAttribute("aria-busy", "true");
  for (const link of document.querySelectorAll("header nav a")) {
    if (link.hash && parse(link.hash).page === at.page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  window.scrollTo(0, 0);
  if (!first) main.focus({ preventScroll: true }); // what had the focus is gone
}

function wake() {
  woken = true;
  resume();
}

async function run() {
  for (;;) {
    woken = false;
    const pause = document.hidden ? RARELY : await refresh();
    if (woken) continue;
    let timer;
    await new Promise((done) => {
      resume = done;
      timer = setTimeout(done, pause);
    });
    clearTimeout(timer);
  }
}

/** Brings everything up to date; how long that is good for, in ms. */
async function refresh() {
  const began = performance.now();
  const shown = page;
  try {
    const active = await shown.refresh();
    if (shown !== page) return 0; // of a page that was left meanwhile
    title();
    setText(part("notice"), "");
    await session.admitted();
    main.hidden = false;
    main.removeAttribute("aria-busy");
    const took = performance.now() - began;
    return Math.max(active ? ACTIVE : IDLE, Math.min(SLOW, 3 * took));
  } catch (error) {
    setText(part("notice"), explained(error));
    if (error.status !== 401) return ACTIVE;
    session.refused();
    main.hidden = true; // what is still there may be of somebody who has left
    return RARELY;
  }
}

function title() {
  const words = page.title ?? "";
  document.title = words ? `${words} · stepsize` : "stepsize";
}

function explained(error) {
  if (!(error instanceof ApiError)) {
    console.error(error);
    return `A fault of the dashboard: ${error.message}`;
  }
  if (error.status === 0) return "Connection lost: what is shown may be old. Trying again …";
  return error.status === 401 ? "" : `The service answers: ${error.message}`;
}
